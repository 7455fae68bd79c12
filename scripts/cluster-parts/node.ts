// The cluster itself: everything of it is a child of this process, on a host of its own (test/harness/own-host.ts).
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestDaemon } from '../../test/harness/daemon.ts';
import { ownHost } from '../../test/harness/own-host.ts';
import { pullTestImages } from '../../test/harness/suite.ts';
import { chosenMinor } from '../../test/kubernetes/release.ts';
import { ControlPlane } from './control-plane.ts';
import { type Facts, factsFile, folder } from './place.ts';

await ownHost();

const daemon = new TestDaemon({});
const cluster = new ControlPlane({ folder, dir: join(daemon.dir, 'cluster'), podCidr: daemon.subnet });
await cluster.start();
await daemon.start();
const { busybox } = await pullTestImages(daemon);
await cluster.startNode({ dir: daemon.dir, name: daemon.name, socket: daemon.socket });
const facts: Facts = { registry: busybox.split('/')[0]!, kubernetes: chosenMinor() };
writeFileSync(factsFile, JSON.stringify(facts));
