// docs/cri-fields.md names every field that a request can have, once, and what it calls obeyed is at least looked at.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';
import { ContainerConfig, PodSandboxConfig } from '../../../src/api/runtime/v1/cri.ts';
import { decodeContainerConfig } from '../../../src/cri/decode-container.ts';
import { decodePodConfig } from '../../../src/cri/decode-pod.ts';
import { type Field, messages, requestMessages } from '../../harness/proto-fields.ts';

const paper = readFileSync(resolve(import.meta.dirname, '../../../docs/cri-fields.md'), 'utf8');
const obeyed = [...paper.matchAll(/^\| (\w+) \| ([\w, ]+) \|$/gm)].flatMap(([, message = '', fields = '']) =>
  message === 'message' ? [] : fields.split(', ').map((field) => `${message}.${field}`),
);
const without = [...paper.matchAll(/^\| (\w+) \| (\w+) \| (.+) \|$/gm)].flatMap(([, message = '', field = '']) =>
  message === 'message' ? [] : [`${message}.${field}`],
);

/** One value for each field of a message, with one item in each list. */
function sample(message: string): Record<string, unknown> {
  return Object.fromEntries((messages.get(message) ?? []).map((field) => [field.name, sampleOf(field)]));
}

function sampleOf({ type, kind, name }: Field): unknown {
  if (kind === 'map') return { 'net.a': '1' };
  const value = messages.has(type) ? sample(type) : (special[name] ?? values[type] ?? 0);
  return kind === 'repeated' ? [value] : value;
}

/** For fields that do not take just anything. */
const special: Readonly<Record<string, unknown>> = {
  profileType: 2, // the one that has a localhost_ref
  hostPath: '/h',
  containerPath: '/c',
  permissions: 'r',
  pageSize: '2MB',
  mountOptions: 'noexec',
  logPath: 'log',
  logDirectory: '/l',
  dropCapabilities: 'KILL',
  maskedPaths: '/m',
  readonlyPaths: '/r',
};
const values: Readonly<Record<string, unknown>> = {
  string: 'x',
  bytes: Buffer.from('x'),
  bool: true,
  int64: 1n,
  uint64: 1n,
  int32: 1,
  uint32: 1,
};

/** The fields that `decode` reads of a whole message, as Message.field; an enum's and a text's own are none. */
function read(message: string, value: object, decode: (value: never) => unknown): Set<string> {
  const seen = new Set<string>();
  const watched = (type: string, object: object): object =>
    new Proxy(object, {
      get(target, key) {
        const found: unknown = Reflect.get(target, key);
        const field = messages.get(type)?.find(({ name }) => name === key);
        if (!field) return found;
        seen.add(`${type}.${field.proto}`);
        if (!messages.has(field.type) || found === undefined) return found;
        return Array.isArray(found)
          ? found.map((one) => watched(field.type, one))
          : watched(field.type, found as object);
      },
    });
  decode(watched(message, value) as never);
  return seen;
}

describe('docs/cri-fields.md', () => {
  test('names every field that a request can have, once', () => {
    const all = requestMessages().flatMap((name) => messages.get(name)!.map((field) => `${name}.${field.proto}`));
    assert.ok(all.length > 200);
    assert.deepEqual([...obeyed, ...without].sort(), all.sort());
  });

  const network = { network: 0, pid: 0, ipc: 0, targetId: '', usernsOptions: { mode: 0, uids: [], gids: [] } };
  const context = { ...sample('LinuxContainerSecurityContext'), namespaceOptions: network };
  const mounts = [
    { ...sample('Mount'), image: undefined, propagation: 0 },
    { ...sample('Mount'), hostPath: '', propagation: 0, readonly: false, recursiveReadOnly: false },
  ];
  const container = ContainerConfig.fromPartial({
    ...sample('ContainerConfig'),
    mounts,
    linux: { ...sample('LinuxContainerConfig'), securityContext: context },
  } as never);
  const pod = PodSandboxConfig.fromPartial({
    ...sample('PodSandboxConfig'),
    linux: { ...sample('LinuxPodSandboxConfig'), securityContext: { ...context, seccompProfilePath: '' } },
  } as never);
  const cases = [
    { message: 'ContainerConfig', value: container, decode: decodeContainerConfig },
    { message: 'PodSandboxConfig', value: pod, decode: decodePodConfig },
  ];
  for (const { message, value, decode } of cases) {
    test(`what it calls obeyed of ${message} is read`, () => {
      const seen = read(message, value, decode);
      const nested = new Set([...seen].map((name) => name.split('.')[0]));
      const older = /\.(apparmor_profile|seccomp_profile_path)$|^(IDMapping|ImageSpec\.runtime)/; // in place of younger ones
      const expected = obeyed.filter((name) => nested.has(name.split('.')[0]!) && !older.test(name));
      assert.deepEqual(
        expected.filter((name) => !seen.has(name)),
        [],
      );
    });
  }
});
