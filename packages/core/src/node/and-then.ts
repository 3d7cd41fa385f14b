/**
 * Goes on with a value: at once where it is there, else when its promise resolves. Most requests wait for nothing, and each
 * promise would cost them more than what they do with their session.
 */
export function andThen<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
