/** kubelet takes answers of 16 MiB (k8s.io/cri-client, maxMsgSize): a longer one is an error to it, whatever the command's exit code. */
const mostOfAnswer = 16 * 1024 * 1024;
/** The exit code, tags and lengths. */
const around = 64;

type Output = { readonly stdout: Buffer; readonly stderr: Buffer };

/** The beginnings of both that fit into one answer: one gets what the other leaves, and at least half. */
export function fitting({ stdout, stderr }: Output, most = mostOfAnswer - around): Output {
  const half = Math.floor(most / 2);
  const ofStderr = Math.min(stderr.length, Math.max(half, most - stdout.length));
  return { stdout: stdout.subarray(0, most - ofStderr), stderr: stderr.subarray(0, ofStderr) };
}
