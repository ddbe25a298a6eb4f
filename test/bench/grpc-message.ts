/** The message of the bench's unary calls, both ways: a gRPC frame around bytes that stand for a small protobuf. */

export const MESSAGE_BYTES = 128;
export const GRPC_METHOD = '/bench.Echo/Unary';

/** Length-prefixed as gRPC over HTTP/2 asks: no compression, four bytes of length. */
export function messageFrame(): Buffer {
  const frame = Buffer.alloc(5 + MESSAGE_BYTES, 'x');
  frame[0] = 0;
  frame.writeUInt32BE(MESSAGE_BYTES, 1);
  return frame;
}
