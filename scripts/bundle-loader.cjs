#!/usr/bin/env node
'use strict';
// The first file of what is shipped: runs berth.cjs, the bundle, from what V8 compiled when the bundle was made. That takes
// a third off a start. V8 takes it only from itself: another version of Node, or one with other flags for V8, compiles anew.
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

function compiledBefore() {
  try {
    return readFileSync(join(__dirname, 'berth.v8'));
  } catch {
    return undefined; // slower, no more
  }
}

const filename = join(__dirname, 'berth.cjs');
const target = process.env.BERTH_WRITE_COMPILED;
// What is compiled beforehand has the name in it: one that is the same wherever that is done. A later start gives its own.
const named = target ? 'berth.cjs' : filename;
const script = new Script(readFileSync(filename, 'latin1'), { filename: named, cachedData: compiledBefore() });
script.runInThisContext()(require, filename, __dirname);
// Once all that every start runs was run, so that it is compiled, too.
if (target) writeFileSync(target, script.createCachedData());
