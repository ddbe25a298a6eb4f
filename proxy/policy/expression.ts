/**
 * Regular expressions of policy: RE2's syntax, matched as a whole and in time linear in the text (re2js), so that no caller
 * can choose a path that makes them slow.
 *
 * The engine is loaded only where policy holds an expression: it costs a data thread some 3 MB, and each expression whose
 * callers try hard to make it remember, up to 8 MB more (re2js's own bound of a DFA).
 */

/** The type of match by which policy asks for an expression. */
export const EXPRESSION = 'RegularExpression';

/** Instructions of a compiled expression; Envoy's own bound (`re2.max_program_size.error_level`), for the same reason. */
const MAX_PROGRAM_SIZE = 100;

/** A compiled expression. */
export interface Expression {
  /** True where it matches `text` from its first character to its last. */
  testExact(text: string): boolean;
}

let engine: typeof import('re2js') | null = null;

/** Must have resolved before an expression is checked or compiled; costs nothing the second time. */
export async function loadExpressions(): Promise<void> {
  engine ??= await import('re2js');
}

/** What is wrong with an expression, as the end of a sentence that begins with its field; null if nothing is. */
export function expressionProblem(source: string): string | null {
  const { RE2JS, RE2JSSyntaxException } = loaded();
  try {
    const size = RE2JS.compile(source).programSize();
    return size <= MAX_PROGRAM_SIZE
      ? null
      : `is too costly: ${size} instructions, at most ${MAX_PROGRAM_SIZE} are allowed`;
  } catch (error) {
    if (!(error instanceof RE2JSSyntaxException)) throw error;
    const [description, part] = [error.getDescription(), error.getPattern()];
    return `is no RE2 expression: ${description}${part === null ? '' : ` at "${part}"`}`;
  }
}

/** Throws on an expression that `expressionProblem` has something against: compile must have refused it. */
export function compileExpression(source: string): Expression {
  const problem = expressionProblem(source);
  if (problem !== null) throw new Error(`the expression ${JSON.stringify(source)} ${problem}`);
  return loaded().RE2JS.compile(source);
}

function loaded(): typeof import('re2js') {
  if (engine === null) throw new Error('loadExpressions has not resolved yet');
  return engine;
}
