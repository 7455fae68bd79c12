// Who answers for the package, and Debian's form of its history.

/** There is no address yet: one that leads nowhere, rather than to a stranger (RFC 2606). */
export const maintainer = 'Berth developers <berth@berth.invalid>';

/** As Debian wants it beside the changes that are told to people. `epoch`: seconds. */
export function debianChangelog(version: string, epoch: number): string {
  const [day = '', date, month, year, time] = new Date(epoch * 1000).toUTCString().split(' ');
  return `berth (${version}) unstable; urgency=medium

  * What is new is in /usr/share/doc/berth/CHANGELOG.md.gz.

 -- ${maintainer}  ${day} ${date} ${month} ${year} ${time} +0000
`;
}
