/** Plain heads for policy tests. */
import { Fields, RequestHead, ResponseHead } from '../../../proxy/http/message.ts';

export function requestHead(
  fields: Fields = new Fields(),
  request: Partial<Pick<RequestHead, 'method' | 'path' | 'authority' | 'scheme'>> = {},
): RequestHead {
  const { method = 'GET', path = '/', authority = 'catalog', scheme = 'http' } = request;
  return new RequestHead(method, scheme, authority, path, fields, 0, 11, false, false, false, null);
}

export function responseHead(fields: Fields = new Fields(), status = 200): ResponseHead {
  return new ResponseHead(status, 'OK', fields, 0, -1, 11, false, -1, null);
}
