// What a handler learns of who waits for its answer, over real connections.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { RuntimeServiceService, type VersionResponse } from '../../../src/api/runtime/v1/cri.ts';
import { type Call, serve } from '../../../src/cri/calls.ts';

const answer: VersionResponse = { version: '1', runtimeName: 'x', runtimeVersion: '1', runtimeApiVersion: 'v1' };

/** A server whose Version answers at once; `asked` gives each call, and what became of its answer. */
async function serving(t: TestContext) {
  const asked = Promise.withResolvers<{ caller: Call; unheard: Promise<string> }>();
  const server = new Server();
  const version = (_: unknown, caller: Call) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    caller.onUnheard(() => resolve('unheard'));
    asked.resolve({ caller, unheard: promise });
    return answer;
  };
  server.addService(RuntimeServiceService, serve(RuntimeServiceService, { version }));
  const socket = join(tmpdir(), `berth-calls-${process.pid}-${Math.random().toString(36).slice(2)}.sock`);
  await new Promise((resolve) => server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), resolve));
  t.after(() => server.forceShutdown());
  return { socket, asked: asked.promise };
}

/** Asks for the version. With a window of 0 the server can send no byte of its answer. */
function ask(t: TestContext, socket: string, initialWindowSize: number, headers: Record<string, string> = {}) {
  const session: ClientHttp2Session = connect('http://localhost', {
    createConnection: () => connectSocket(socket),
    settings: { initialWindowSize },
  });
  t.after(() => session.destroy());
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': '/runtime.v1.RuntimeService/Version',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => {});
  stream.end(Buffer.alloc(5)); // an empty message
  return { session, stream };
}

test('an answer that went out whole counts as heard', async (t) => {
  const { socket, asked } = await serving(t);
  const { stream } = ask(t, socket, 65_535);
  stream.resume();
  const [trailers] = await once(stream, 'trailers');
  assert.equal(trailers['grpc-status'], '0');
  await once(stream, 'close');
  const { unheard, caller } = await asked;
  assert.equal(caller.deadline, Infinity);
  assert.equal(await Promise.race([unheard, new Promise((resolve) => setImmediate(resolve, 'heard'))]), 'heard');
});

test('a client that leaves while the answer is under way has not heard it', async (t) => {
  const { socket, asked } = await serving(t);
  const { stream } = ask(t, socket, 0);
  await once(stream, 'response');
  stream.close(constants.NGHTTP2_CANCEL);
  assert.equal(await (await asked).unheard, 'unheard');
});

test('nor has one whose connection ends', async (t) => {
  const { socket, asked } = await serving(t);
  const { session, stream } = ask(t, socket, 0);
  await once(stream, 'response');
  session.destroy();
  assert.equal(await (await asked).unheard, 'unheard');
});

test('a deadline is that of the client', async (t) => {
  const { socket, asked } = await serving(t);
  const before = Date.now();
  ask(t, socket, 65_535, { 'grpc-timeout': '5S' }).stream.resume();
  const { deadline } = (await asked).caller;
  assert.ok(deadline >= before + 5000 && deadline <= Date.now() + 5000);
});
