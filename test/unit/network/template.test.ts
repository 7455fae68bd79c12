import assert from 'node:assert/strict';
import { mkdirSync, mkdtempDisposableSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { defaults } from '../../../src/base/settings.ts';
import { executeTemplate } from '../../../src/network/go-template.ts';
import { Network } from '../../../src/network/index.ts';
import { fillTemplate, parsePodCidrs } from '../../../src/network/template.ts';

describe('the template', () => {
  const template =
    '{"name":"t","cniVersion":"1.0.0","plugins":[{"type":"ptp","ipam":{"type":"host-local","subnet":"{{.PodCIDR}}","ranges":{{.PodCIDRRanges}}}}]}';

  test('is filled with the first CIDR and with all of them', () => {
    const { plugins } = JSON.parse(fillTemplate(template, ['10.1.0.0/24', 'fd00::/64']));
    assert.deepEqual(plugins[0].ipam.subnet, '10.1.0.0/24');
    assert.deepEqual(plugins[0].ipam.ranges, [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00::/64' }]]);
    assert.throws(() => fillTemplate('{"name":"t"', ['10.1.0.0/24']), /JSON/);
  });

  test('is read as containerd reads its own, of its documentation', () => {
    const ipam = `{"type":"host-local",
      "ranges": [{{range $i, $range := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$range}}"}]{{end}}],
      "routes": [{{range $i, $route := .Routes}}{{if $i}}, {{end}}{"dst": "{{$route}}"}{{end}}]}`;
    const whole = `{"name":"t","cniVersion":"1.0.0","plugins":[{"type":"ptp","ipam":${ipam}}]}`;
    const ipamOf = (cidrs: string[]) => JSON.parse(fillTemplate(whole, cidrs)).plugins[0].ipam;
    const [v4, v6] = ['10.1.0.0/24', 'fd00::/64'];
    assert.deepEqual(ipamOf([v6]), { type: 'host-local', ranges: [[{ subnet: v6 }]], routes: [{ dst: '::/0' }] });
    assert.deepEqual(ipamOf([v4, v6]).ranges, [[{ subnet: v4 }], [{ subnet: v6 }]]);
    assert.deepEqual(ipamOf([v4, v6]).routes, [{ dst: '0.0.0.0/0' }, { dst: '::/0' }]);
  });

  for (const [template, expected] of [
    ['a {{- /* nothing */ -}} b', 'ab'],
    ['{{range .All}}<{{.}}{{$.One}}>{{else}}none{{end}}', '<x1><y1>'],
    ['{{range $v := .None}}{{$v}}{{else}}none{{end}}', 'none'],
    ['{{if .None}}a{{else if .One}}b{{else}}c{{end}}{{.All}}', 'bAll:x,y'],
    ['{{range $i, $a := .All}}{{range $b := $.All}}{{$i}}{{$a}}{{$b}} {{end}}{{end}}', '0xx 0xy 1yx 1yy '],
  ] as const) {
    test(`${template} gives ${expected}`, () => {
      const fields = { One: '1', All: ['x', 'y'], None: [] };
      assert.equal(
        executeTemplate(template, fields, (field, list) => `${field}:${list}`),
        expected,
      );
    });
  }

  for (const [template, message] of [
    ['{{.Pod}}', /\{\{\.Pod\}\} is not known here: \.One/],
    ['{{range .All}}{{.One}}{{end}}', /\.One\}\} is not known/],
    ['{{$x}}', /\$x/],
    ['{{printf "%s" .One}}', /printf/],
    ['{{if .One}}', /\{\{if \.One\}\} has no \{\{end\}\}/],
    ['{{range .One}}{{end}}', /\.One is no list/],
    ['{{end}}', /ends nothing/],
  ] as const) {
    test(`${template} is refused`, () =>
      assert.throws(() => executeTemplate(template, { One: '1', All: ['x'] }, String), { message }));
  }

  test('is not used where another file describes a network', async () => {
    using scratch = mkdtempDisposableSync(join(tmpdir(), 'berth-template-'));
    const dir = scratch.path;
    const [confDir, confTemplate] = [join(dir, 'net.d'), join(dir, 'template')];
    mkdirSync(confDir);
    writeFileSync(confTemplate, template);
    const cni = { ...defaults.cni, confDir, confTemplate };
    const network = new Network({ cni, dataDir: dir, timeouts: defaults.timeouts }, join(dir, 'kept'));
    await network.setPodCidrs('10.1.0.0/24');
    await network.setPodCidrs('10.2.0.0/24');
    const [own, ...more] = readdirSync(confDir);
    assert.deepEqual(more, []);
    assert.match(readFileSync(join(confDir, own!), 'utf8'), /10\.2\.0\.0/);
    writeFileSync(join(confDir, '20-other.conflist'), fillTemplate(template, ['10.9.0.0/24']));
    await network.setPodCidrs('10.3.0.0/24');
    assert.match(readFileSync(join(confDir, own!), 'utf8'), /10\.2\.0\.0/);
  });

  test('CIDRs are checked', () => {
    assert.deepEqual(parsePodCidrs('10.1.0.0/24, fd00::/64'), ['10.1.0.0/24', 'fd00::/64']);
    for (const bad of ['10.1.0.0', '10.1.0.0/33', '300.1.0.0/24', 'fd00::/129', '"},{"', ',']) {
      assert.throws(() => parsePodCidrs(bad), { kind: 'InvalidArgument' }, bad);
    }
  });
});
