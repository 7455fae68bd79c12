import type { OpenHostFiles } from '../base/host-files.ts';
import { LastingFiles } from '../lifecycle/lasting-files.ts';
import { answerMs } from './reach.ts';

/** What a command reads of an operator's. */
export const hostFiles: OpenHostFiles = () => new LastingFiles(() => answerMs, 'what a command reads');
