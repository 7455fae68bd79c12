import assert from 'node:assert/strict';
import test from 'node:test';
import { mostUserFileBytes, resolveUser, type UserRequest } from '../../../src/oci/index.ts';

const files = {
  passwd: [
    '# a comment:x:5:5::/c:',
    'root:x:0:0:root:/root:/bin/sh',
    'www:x:33:33:www:/var/www:/sbin/nologin\r',
    'app:x:1000:1000::relative:/bin/sh',
    'broken:x:not-a-number:0::/:',
    'huge:x:4294967296:0::/:',
    '4294967296:x:0:0:trap:/root:/bin/sh',
    'short',
  ].join('\n'),
  group: 'root:x:0:\nwww:x:33:\nstaff:x:50:app,www\nextra:x:50000:app\nusers:x:100',
};
const nobodyAsked: UserRequest = {
  runAsUser: null,
  runAsGroup: null,
  runAsUsername: '',
  imageUser: '',
  supplementalGroups: [],
  policy: 'merge',
};

const cases: { name: string; request: Partial<UserRequest>; expected: [number, number, number[], string] }[] = [
  { name: 'nothing: root', request: {}, expected: [0, 0, [0], '/root'] },
  { name: 'image name', request: { imageUser: 'www' }, expected: [33, 33, [33, 50], '/var/www'] },
  { name: 'image id with entry', request: { imageUser: '33' }, expected: [33, 33, [33, 50], '/var/www'] },
  { name: 'image id without entry', request: { imageUser: '77' }, expected: [77, 0, [0], '/'] },
  { name: 'image name:group', request: { imageUser: 'www:users' }, expected: [33, 100, [100, 50], '/var/www'] },
  { name: 'image name:gid', request: { imageUser: 'www:7' }, expected: [33, 7, [7, 50], '/var/www'] },
  { name: 'image uid:group', request: { imageUser: '1003:users' }, expected: [1003, 100, [100], '/'] },
  { name: 'a home that is no path', request: { imageUser: 'app' }, expected: [1000, 1000, [1000, 50, 50000], '/'] },
  {
    name: 'request over image',
    request: { imageUser: 'www', runAsUser: 1000 },
    expected: [1000, 1000, [1000, 50, 50000], '/'],
  },
  { name: 'request by name', request: { runAsUsername: 'www' }, expected: [33, 33, [33, 50], '/var/www'] },
  { name: 'request 0 is root', request: { imageUser: 'www', runAsUser: 0 }, expected: [0, 0, [0], '/root'] },
  { name: 'group', request: { runAsUser: 1000, runAsGroup: 9 }, expected: [1000, 9, [9, 50, 50000], '/'] },
  {
    name: 'merged',
    request: { runAsUser: 33, supplementalGroups: [1234, 50] },
    expected: [33, 33, [33, 50, 1234], '/var/www'],
  },
  {
    name: 'strict',
    request: { runAsUser: 33, supplementalGroups: [1234], policy: 'strict' },
    expected: [33, 33, [33, 1234], '/var/www'],
  },
  { name: 'highest id', request: { imageUser: '4294967294' }, expected: [4294967294, 0, [0], '/'] },
];
for (const { name, request, expected } of cases) {
  test(`user: ${name}`, () => {
    const { uid, gid, additionalGids, home } = resolveUser({ ...nobodyAsked, ...request }, files);
    assert.deepEqual([uid, gid, additionalGids, home], expected);
  });
}

const numericLooking = [
  '4294967296',
  '4294967295',
  '-1',
  '+1',
  '1e3',
  ' 0',
  '0 ',
  '0x0',
  '0.0',
  'Infinity',
  '99999999999',
  '-',
];
for (const imageUser of numericLooking) {
  test(`refused, never a name and never root: ${JSON.stringify(imageUser)}`, () => {
    assert.throws(() => resolveUser({ ...nobodyAsked, imageUser }, files), { kind: 'InvalidArgument' });
    assert.throws(() => resolveUser({ ...nobodyAsked, imageUser: `www:${imageUser}` }, files), {
      kind: 'InvalidArgument',
    });
  });
}

const refused: { name: string; request: Partial<UserRequest>; kind: string }[] = [
  { name: 'unknown user', request: { imageUser: 'nobody' }, kind: 'FailedPrecondition' },
  { name: 'unknown group', request: { imageUser: 'www:nobody' }, kind: 'FailedPrecondition' },
  { name: 'a user whose entry is broken', request: { imageUser: 'broken' }, kind: 'FailedPrecondition' },
  { name: 'a user whose id is out of range', request: { imageUser: 'huge' }, kind: 'FailedPrecondition' },
  { name: 'group without user', request: { runAsGroup: 5 }, kind: 'InvalidArgument' },
  { name: 'group without user, image has one', request: { runAsGroup: 5, imageUser: 'www' }, kind: 'InvalidArgument' },
  { name: 'id and name', request: { runAsUser: 5, runAsUsername: 'www' }, kind: 'InvalidArgument' },
  { name: 'negative id', request: { runAsUser: -1 }, kind: 'InvalidArgument' },
  { name: 'id of (uid_t)-1', request: { runAsUser: 4294967295 }, kind: 'InvalidArgument' },
  { name: 'negative group', request: { supplementalGroups: [-1] }, kind: 'InvalidArgument' },
  {
    name: 'more groups than Linux takes',
    request: { supplementalGroups: Array.from({ length: 65537 }, (_, i) => i) },
    kind: 'InvalidArgument',
  },
  ...['a:b:c', 'www\0', 'www\n', 'w w'].map((imageUser) => ({
    name: JSON.stringify(imageUser),
    request: { imageUser },
    kind: 'InvalidArgument',
  })),
];
for (const { name, request, kind } of refused) {
  test(`refused: ${name}`, () => {
    assert.throws(() => resolveUser({ ...nobodyAsked, ...request }, files), { kind });
  });
}

const tooLong = { passwd: null, group: null };
for (const { name, request, left, kind } of [
  { name: 'a user by name', request: { imageUser: 'www:33' }, left: { passwd: null } },
  { name: 'the group of a user by id', request: { imageUser: '33' }, left: { passwd: null } },
  { name: 'the group of nobody named: root', request: {}, left: { passwd: null } },
  { name: 'the groups that a user by id is merged with', request: { imageUser: '33:33' }, left: { passwd: null } },
  { name: 'a group by name', request: { imageUser: '33:www', policy: 'strict' }, left: { group: null } },
  { name: 'the groups that list a user', request: { imageUser: 'www' }, left: { group: null } },
  { name: 'what looks like a number', request: { imageUser: '1e3' }, left: tooLong, kind: 'InvalidArgument' },
] as { name: string; request: Partial<UserRequest>; left: Partial<typeof tooLong>; kind?: string }[]) {
  test(`a file that is too long is no answer for ${name}`, () => {
    const found = { ...files, ...left };
    assert.throws(() => resolveUser({ ...nobodyAsked, ...request }, found), {
      kind: kind ?? 'FailedPrecondition',
      message: kind ? /neither a name nor an id/ : /^\/etc\/(passwd|group) of the image has more than 1048576 bytes/,
    });
  });
}

test('a file that is too long stops nobody who needs nothing of it', () => {
  const strict = { ...nobodyAsked, policy: 'strict' as const, supplementalGroups: [7] };
  const expected = { uid: 33, gid: 44, additionalGids: [44, 7], home: '/' };
  assert.deepEqual(resolveUser({ ...strict, runAsUser: 33, runAsGroup: 44 }, tooLong), expected);
  assert.deepEqual(resolveUser({ ...strict, imageUser: '33:44' }, tooLong), expected);
  assert.deepEqual(resolveUser({ ...strict, imageUser: 'www:44' }, { ...files, group: null }).home, '/var/www');
  const noEntry = resolveUser({ ...nobodyAsked, imageUser: '77' }, { ...files, group: null });
  assert.deepEqual(noEntry, { uid: 77, gid: 0, additionalGids: [0], home: '/' }, 'nobody lists a user without a name');
});

const megabyte = (line: string) => line.repeat(Math.floor(mostUserFileBytes / line.length));
for (const [name, passwd, group] of [
  ['empty lines', megabyte('\n'), megabyte('\n')],
  ['lines of colons', megabyte('::\n'), megabyte('::::\n')],
  ['one line of colons', megabyte(':'), megabyte(':')],
  ['short entries', megabyte('a::1:1\n'), megabyte('a::1:b\n')],
  ['one group of many members', files.passwd, `many:x:9:${megabyte('a,')}`],
  ['comments', megabyte('#\n'), megabyte('#:::\n')],
] as const) {
  test(`a mebibyte of ${name} takes no time that anybody notices`, () => {
    const request = { ...nobodyAsked, imageUser: 'app:last' };
    const own = { passwd: `${passwd}\napp:x:5:6::/h:\n`, group: `${group}\nlast:x:8:x,app\n` };
    const begin = process.cpuUsage();
    assert.equal(resolveUser(request, own).gid, 8);
    const { user, system } = process.cpuUsage(begin);
    assert.ok(user + system < 500_000, `${(user + system) / 1000} ms`);
  });
}

test('a member is a whole name in the list', () => {
  const group = ['w:x:1:ww', 'w:x:2:w,ww', 'w:x:3:ww,w', 'w:x:4:a,w,b', 'w:x:5:w', 'w:x:6:ww,w ', 'a,w:x:7:'].join(
    '\n',
  );
  const passwd = 'w:x:90:91::/:\na,w:x:92:93::/:\n';
  assert.deepEqual(resolveUser({ ...nobodyAsked, imageUser: 'w' }, { passwd, group }).additionalGids, [91, 2, 3, 4, 5]);
  assert.deepEqual(resolveUser({ ...nobodyAsked, imageUser: 'a,w' }, { passwd, group }).additionalGids, [93]);
});

test('without files ids still work and names do not', () => {
  const none = { passwd: '', group: '' };
  assert.deepEqual(resolveUser({ ...nobodyAsked, imageUser: '5:6' }, none), {
    uid: 5,
    gid: 6,
    additionalGids: [6],
    home: '/',
  });
  assert.throws(() => resolveUser({ ...nobodyAsked, imageUser: 'root' }, none), { kind: 'FailedPrecondition' });
});

test('half of a user and group is what Docker and containerd make of it', () => {
  const of = (imageUser: string) => {
    const { uid, gid } = resolveUser({ ...nobodyAsked, imageUser }, files);
    return [uid, gid];
  };
  assert.deepEqual(of(':777'), [0, 777]);
  assert.deepEqual(of('5:'), of('5'));
  assert.deepEqual(of(':'), of(''));
});
