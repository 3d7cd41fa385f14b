import type { HoldOptions } from "@msm/core/node";

/**
 * Has an error handler answer in place of the handler, whose answer is thrown away. A class, as V8 puts literals that often live as
 * long as a request into the old generation at once, and keeps the whole request there with them.
 */
export class ErrorAnswer implements HoldOptions {
  readonly answerError: (error: Error) => void;

  /** @param answerError passes the error on */
  constructor(answerError: (error: Error) => void) {
    this.answerError = answerError;
  }
}
