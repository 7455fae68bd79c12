// A device plugin as vendors write them (kubelet's deviceplugin/v1beta1): it registers with kubelet, says which devices there
// are, and names them for the runtime as devices of CDI.
import { join } from 'node:path';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
} from '@grpc/grpc-js';

/** Where kubelet looks for plugins, whatever its root directory is. */
const folder = '/var/lib/kubelet/device-plugins';

const bytes = (value: Uint8Array) => Buffer.from(value);
const method = (path: string, responseStream = false) => ({
  path,
  requestStream: false,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
const service = {
  getDevicePluginOptions: method('/v1beta1.DevicePlugin/GetDevicePluginOptions'),
  listAndWatch: method('/v1beta1.DevicePlugin/ListAndWatch', true),
  allocate: method('/v1beta1.DevicePlugin/Allocate'),
} satisfies ServiceDefinition;

type Field = readonly [number: number, value: string | Uint8Array];
const message = (...fields: readonly Field[]): Buffer => {
  const writer = new BinaryWriter();
  for (const [number, value] of fields) {
    writer.tag(number, WireType.LengthDelimited);
    if (typeof value === 'string') writer.string(value);
    else writer.bytes(value);
  }
  return Buffer.from(writer.finish());
};

/** The fields of this number: all that is asked for here are texts and messages. */
function fields(data: Uint8Array, wanted: number): Uint8Array[] {
  const reader = new BinaryReader(data);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === wanted) found.push(reader.bytes());
    else reader.skip(type);
  }
  return found;
}

export class DevicePlugin {
  readonly #resource: string;
  readonly #endpoint: string;
  readonly #server = new Server();
  /** The devices that each container was given. */
  readonly allocated: string[][] = [];

  /** Of the devices `ids` of `resource`; to CDI each is KIND=ID. */
  constructor(resource: string, ids: readonly string[], kind: string) {
    this.#resource = resource;
    this.#endpoint = `${resource.replaceAll('/', '-')}.sock`;
    const devices = ids.map((id): Field => [1, message([1, id], [2, 'Healthy'])]);
    this.#server.addService(service, {
      getDevicePluginOptions: (_: unknown, done: sendUnaryData<Buffer>) => done(null, message()),
      listAndWatch: (call: ServerWritableStream<Buffer, Buffer>) => call.write(message(...devices)),
      allocate: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const asked = fields(call.request, 1).map((one) => fields(one, 1).map((id) => Buffer.from(id).toString()));
        this.allocated.push(...asked);
        const answers = asked.map(
          (own): Field => [1, message(...own.map((id): Field => [5, message([1, `${kind}=${id}`])]))],
        );
        done(null, message(...answers));
      },
    });
  }

  async start(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.bindAsync(`unix://${join(folder, this.#endpoint)}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
    await promise;
    await this.#register();
  }

  async #register(): Promise<void> {
    const Registration = makeGenericClientConstructor(
      { register: method('/v1beta1.Registration/Register') },
      'Registration',
    );
    const client = new Registration(`unix://${folder}/kubelet.sock`, credentials.createInsecure());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const request = message([1, 'v1beta1'], [2, this.#endpoint], [3, this.#resource]);
    client.register!(request, (error: Error | null) => (error ? reject(error) : resolve()));
    await promise;
    client.close();
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}
