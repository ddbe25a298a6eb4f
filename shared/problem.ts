/** A mistake somebody made in a file or a flag, told so that they can mend it. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  /** Path of the file, relative to the folder that was read. */
  readonly file: string;
  /** From 1; 0 where the whole file is meant. */
  readonly line: number;
  readonly column: number;
  /** Where in the document, e.g. `spec.rules[0].backendRefs[1].port`; empty for the whole. */
  readonly path: string;
  readonly message: string;
  /** What to write instead; empty without. */
  readonly advice: string;
}

/** `file:line:column: path: what is wrong (what to write instead)`. */
export function formatProblem(problem: Problem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  const path = problem.path === '' ? '' : ` ${problem.path}:`;
  const advice = problem.advice === '' ? '' : ` (${problem.advice})`;
  const warning = problem.severity === 'warning' ? ' warning:' : '';
  return `${place}:${warning}${path} ${problem.message}${advice}`;
}
