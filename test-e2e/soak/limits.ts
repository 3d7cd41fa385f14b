/**
 * Longer than msm's default: two nodes that miss their deadline at once because the machine is busy would be a fault
 * that nobody planned, and one that takes both copies.
 */
export const operationTimeoutMs = 1000;
