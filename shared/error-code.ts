/** Node's word for a failed call, `ENOENT` and the like (Node API reference, "Errors"); null where the error has none. */
export function codeOf(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}
