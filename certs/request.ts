/** One HTTPS request of weft's own, bounded in time and bytes. undici comes with the first one: it costs 25 MB. */
import { codeOf } from '../shared/error-code.ts';
import { err, ok, type Result } from '../shared/result.ts';

export interface RequestOptions {
  readonly method?: 'GET' | 'POST' | 'PATCH';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** PEM; the runtime's own roots without `ca`. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export interface ReceivedText {
  readonly status: number;
  readonly text: string;
}

/** Follows no redirect and keeps no connection. The error is the end of a sentence that begins with the URL. Never throws. */
export async function requestText(url: string, options: RequestOptions): Promise<Result<ReceivedText, string>> {
  const { Agent, request } = await import('undici');
  const { method = 'GET', headers = {}, body = null, tls = {}, timeoutMs, maxBytes } = options;
  const agent = new Agent({ connect: { ...tls, timeout: timeoutMs }, maxResponseSize: maxBytes });
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = await request(url, { method, headers, body, signal, dispatcher: agent });
    return ok({ status: answer.statusCode, text: await answer.body.text() });
  } catch (error) {
    return err(`cannot be reached (${reasonOf(error)})`);
  } finally {
    await agent.destroy();
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return codeOf(error) ?? error.name;
}
