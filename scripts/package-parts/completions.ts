// What shells complete of a command line, from the commands' own table.
import { type Commands, flags } from '../../src/commands/command-line.ts';

const optionsOf = (given: readonly (keyof typeof flags)[]): string[] => [...given.map((name) => `--${name}`), '--help'];
const takesFiles = (takes: readonly string[]): boolean => takes.some((word) => word.includes('FILE'));
const withValue = (Object.keys(flags) as (keyof typeof flags)[]).filter((name) => flags[name].value === 'FILE');
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

export function bashCompletion(commands: Commands): string {
  const cases = Object.entries(commands).map(
    ([name, { takes, flags }]) =>
      `    ${name}) words=${quoted(optionsOf(flags).join(' '))} files=${takesFiles(takes) ? 1 : ''} ;;\n`,
  );
  return `# bash completion for berth
_berth() {
  local current=\${COMP_WORDS[COMP_CWORD]} words files=
  COMPREPLY=()
  case \${COMP_WORDS[COMP_CWORD - 1]} in
    ${withValue.map((name) => `--${name}`).join(' | ')}) compopt -o default; return ;;
  esac
  case \${COMP_WORDS[1]} in
${cases.join('')}    *) words=${quoted([...Object.keys(commands), '--help', '--version'].join(' '))} ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  [[ -z $files || $current == -* ]] || compopt -o default
}
complete -F _berth berth
`;
}

/** Within _arguments and _describe a colon ends a word, and brackets a description. */
const zshText = (text: string): string => text.replaceAll(/[:[\]\\]/g, '\\$&');

export function zshCompletion(commands: Commands): string {
  const names = Object.entries(commands).map(([name, { does }]) => `    ${quoted(`${name}:${zshText(does)}`)}\n`);
  const cases = Object.entries(commands).map(([name, { takes, flags: own }]) => {
    const options = own.map((flag) => {
      const { value, text } = flags[flag];
      const action = value === '' ? '' : `:${value}:${value === 'FILE' ? '_files' : ''}`;
      return quoted(`--${flag}[${zshText(text)}]${action}`);
    });
    const words = takes.map((word) => quoted(`:${word}:${word.includes('FILE') ? '_files' : ''}`));
    return `    ${name}) _arguments ${[...options, `'--help[its own help]'`, ...words].join(' ')} ;;\n`;
  });
  return `#compdef berth
_berth() {
  local -a commands=(
${names.join('')}  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${cases.join('')}  esac
}
_berth "$@"
`;
}

export function fishCompletion(commands: Commands): string {
  const lines = Object.entries(commands).flatMap(([name, { does, takes, flags: own }]) => {
    const after = `complete -c berth -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c berth -n __fish_use_subcommand -f -a ${name} -d ${quoted(does)}`,
      ...own.map(
        (flag) => `${after} -l ${flag}${flags[flag].value === '' ? '' : ' -r'} -d ${quoted(flags[flag].text)}`,
      ),
      ...(takesFiles(takes) ? [] : [`${after} -f`]),
    ];
  });
  return `# fish completion for berth\ncomplete -c berth -l help -d 'what there is'\ncomplete -c berth -n __fish_use_subcommand -l version -d 'print the version'\n${lines.join('\n')}\n`;
}
