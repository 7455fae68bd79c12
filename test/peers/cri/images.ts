// The images that containerd's tests of CRI ask for (its integration/images/image_list.go), made of the host's programs.
import { stringify } from 'smol-toml';
import { type BuiltImage, type Config, makeImage } from '../../images/image.ts';
import { type Entry, makeLayer } from '../../images/layer.ts';
import { busyboxLayer, programLayer } from '../../images/roots.ts';

const shell: Config = { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'] };
const nobody = 65534;
const withVolumes = (...paths: string[]): Config => ({
  ...shell,
  Volumes: Object.fromEntries(paths.map((path) => [path, {}])),
});
const folder = (name: string, owner = 0): Entry => ({
  name,
  type: 'directory',
  mode: 0o755,
  uid: owner,
  gid: owner,
});

/** Its users are in groups as busybox's own image has them. */
const groups: Entry = {
  name: 'etc/group',
  data: 'root:x:0:\ndaemon:x:1:\nwheel:x:10:root\nnobody:x:65534:\nnogroup:x:65533:\n',
  mode: 0o644,
};

/** By the keys of the suite's list, what each is called here, `repository:tag`. */
const names = {
  Alpine: 'containerd/alpine:3.14.0',
  BusyBox: 'containerd/busybox:1.36',
  Pause: 'pause:3.10.2',
  VolumeCopyUp: 'containerd/volume-copy-up:2.2',
  VolumeOwnership: 'containerd/volume-ownership:2.1',
} as const;

export async function criImages(): Promise<BuiltImage[]> {
  const busybox = [await busyboxLayer(), await makeLayer([groups])];
  const alpine = await makeLayer([{ name: 'etc/os-release', data: 'ID=alpine\n', mode: 0o644 }]);
  const content = await makeLayer([
    folder('test_dir'),
    { name: 'test_dir/test_file', data: 'test_content\n', mode: 0o644 },
    folder(':colon_prefixed'),
    { name: ':colon_prefixed/colon_prefixed_file', data: 'test_content\n', mode: 0o644 },
    folder('C:'),
    folder('C:/weird_test_dir'),
    { name: 'C:/weird_test_dir/weird_test_file', data: 'test_content\n', mode: 0o644 },
  ]);
  const volumes = ['/test_dir', 'C:/weird_test_dir', '/:colon_prefixed']; // the second is relative to the root
  return [
    makeImage([names.Alpine], [...busybox, alpine], shell),
    makeImage([names.BusyBox], busybox, shell),
    makeImage([names.Pause], [await programLayer('pause', 0o755)], { Entrypoint: ['/pause'], User: '65535:65535' }),
    makeImage([names.VolumeCopyUp], [...busybox, content], withVolumes(...volumes)),
    makeImage(
      [names.VolumeOwnership],
      [...busybox, await makeLayer([folder('test_dir', nobody)])],
      withVolumes('/test_dir'),
    ),
  ];
}

/** What the suite reads of where images are; `registry` has those of criImages. */
export const imageList = (registry: string): string =>
  stringify(Object.fromEntries(Object.entries(names).map(([key, name]) => [key, `${registry}/${name}`])));
