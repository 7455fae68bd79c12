// What the rest of Berth may use of the streaming server.
export type { CommandRequest, ForwardRequest, StreamRequest } from './requests.ts';
export { StreamingServer } from './server.ts';
