// A registry that is far away: node far.ts PORT passes connections on to 127.0.0.1:PORT, what goes either way ten
// milliseconds late, and prints the port that it listens at. A program by itself: its work is not the bench's.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

const halfMs = 10;
/** As much may be under way: the window of a connection over such a distance. */
const most = 4 * 1024 * 1024;

function passOn(from: Socket, to: Socket): void {
  let underWay = 0;
  const later = (what: () => void) => setTimeout(what, halfMs);
  from.on('data', (data) => {
    underWay += data.length;
    if (underWay > most) from.pause();
    later(() => {
      to.write(data, () => {
        underWay -= data.length;
        from.resume();
      });
    });
  });
  from.on('end', () => later(() => to.end()));
  from.on('error', () => to.destroy());
  from.on('close', () => later(() => to.destroy()));
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  const far = connect({ port: Number(process.argv[2]), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  passOn(near, far);
  passOn(far, near);
});
await once(server.listen(0, '127.0.0.1'), 'listening');
console.log((server.address() as AddressInfo).port);
