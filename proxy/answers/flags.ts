/** Command lines of the questions: flags anywhere among the words, `--name value` or `--name=value`. */
import { EXIT_USAGE } from '../../shared/exit-codes.ts';
import { suggest } from '../config/near.ts';

/** `switch` takes no value, `value` one, `values` may be repeated. */
export type FlagShape = 'switch' | 'value' | 'values';

export class Flags {
  /** What is no flag, in order. */
  readonly words: string[] = [];
  private readonly given = new Map<string, string[]>();

  /** The value of a flag, undefined where it is absent. */
  value(name: string): string | undefined {
    return this.given.get(name)?.[0];
  }

  values(name: string): readonly string[] {
    return this.given.get(name) ?? [];
  }

  has(name: string): boolean {
    return this.given.has(name);
  }

  /** Takes a flag up; a sentence where it stands twice and must not. */
  add(name: string, shape: FlagShape, value: string): string | null {
    const before = this.given.get(name) ?? [];
    if (before.length > 0 && shape === 'value') return `--${name} is given twice`;
    this.given.set(name, [...before, value]);
    return null;
  }
}

/** A sentence where the arguments are wrong. */
export function parseFlags(args: readonly string[], known: Readonly<Record<string, FlagShape>>): Flags | string {
  const flags = new Flags();
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] as string;
    if (!argument.startsWith('-')) {
      flags.words.push(argument);
      continue;
    }
    const [, name = '', inline] = /^--([^=]+)(?:=(.*))?$/s.exec(argument) ?? [];
    const shape = Object.hasOwn(known, name) ? known[name] : undefined;
    if (shape === undefined) {
      const names = Object.keys(known).map((each) => `--${each}`);
      return `unknown flag ${argument} (${suggest(argument, names)})`;
    }
    if (shape === 'switch' && inline !== undefined) return `--${name} takes no value`;
    const value = shape === 'switch' ? '' : (inline ?? args[++i]);
    if (value === undefined || (value === '' && shape !== 'switch')) return `--${name} needs a value`;
    const problem = flags.add(name, shape, value);
    if (problem !== null) return problem;
  }
  return flags;
}

/** Where lines go; the process edge gives the streams. */
export interface Output {
  out(line: string): void;
  err(line: string): void;
}

/** The exit code where `--help` stands among the arguments, after the usage was told; null where it does not. */
export function tellUsage(args: readonly string[], output: Output, usage: string): number | null {
  if (!args.includes('--help')) return null;
  output.out(usage);
  return 0;
}

/** Tells what is wrong with a command line, and answers the exit code for it. */
export function refuseUsage(output: Output, wrong: string, usage: string): number {
  output.err(wrong);
  output.err(usage);
  return EXIT_USAGE;
}
