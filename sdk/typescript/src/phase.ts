export const phase = {
  /** Whether the script is being evaluated. Every instance evaluates it, and all instances must be the same. */
  isEvaluating: true,
  /** How many callbacks this instance has begun. */
  calls: 0,
};

/** Throws an error while the script is evaluated. */
export function onlyInCallbacks(name: string): void {
  if (phase.isEvaluating) throw new Error(`\`${name}\` can't be used while the script is evaluated; use it in a callback`);
}
