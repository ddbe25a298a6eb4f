/** What a command ends with where it does not end with 0 (CONTRACT, "Commands"). */

/** It was asked properly and failed. */
export const EXIT_FAILED = 1;
/** It was called wrongly. */
export const EXIT_USAGE = 2;
