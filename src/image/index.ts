export type { RegistryAuth } from './auth.ts';
export { configDocument } from './config-document.ts';
export { type Endpoint, endpointsFor, isLoopback } from './hosts.ts';
export { type Images, openImages, type PullRequest } from './images.ts';
export { imageNames } from './naming.ts';
export type { PullStatus } from './progress.ts';
export { type Environment, proxyFor, proxySettings, withoutPassword } from './proxy.ts';
export { canonical, parseReference, type Reference } from './reference.ts';
export type { ImageSettings } from './settings.ts';
