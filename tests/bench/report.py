#!/usr/bin/env python3
"""Draws the figures of the bench: report.py FOLDER README FILE.json...

Writes FOLDER/REPORT.md and, beside it, FOLDER/report/*.svg; puts the table of the report's head into README, between the
two marks that say so. Each JSON file is what `benchmark --json` wrote; a text file of the same name with .txt at its end
(what the bench printed) adds reloads and rules. The files must be of one commit.
"""
import json
import math
import pathlib
import re
import statistics
import sys

import drawing

PEERS = {'haproxy': 'HAProxy', 'nginx': 'nginx', 'epoll': 'the epoll twin'}
BLOCK_BEGIN, BLOCK_END = '<!-- figures of tests/bench/REPORT.md -->', '<!-- end of figures -->'
# How many times moonring's CPU (idle: memory) each peer's best setting is to need.
TARGETS = {
    '64B-64': (1.20, 1.15, 1.04), '64B-512': (1.28, 1.25, 1.10), '64B-4096': (1.5, 1.25, 1.08),
    '4KiB-64': (1.15, 1.10, 1.03), '16KiB-64': (1.25, 1.18, 1.1), '64KiB-64': (1.15, 1.7, 1.0),
    'bulk-16': (1.5, 2.5, 1.0), 'bulk-1': (1.6, 1.35, 1.0), 'churn': (1.22, 1.14, 1.10), 'idle-9k': (6, 18, None),
}
WORDS = {
    '64B-1': '64 B, 1 connection', '64B-64': '64 B, 64 connections', '64B-512': '64 B, 512 connections',
    '64B-1024': '64 B, 1024 connections', '64B-4096': '64 B, 4096 connections', '64B-9500': '64 B, 9500 connections',
    'active-9500': '64 B, 9500 connections, 20,000/s', 'paced-20k': '64 B, 64 connections, 20,000/s',
    '4KiB-64': '4 KiB, 64 connections', '16KiB-64': '16 KiB, 64 connections', '64KiB-64': '64 KiB, 64 connections',
    'bulk-1': 'bulk, 1 connection', 'bulk-16': 'bulk, 16 connections', 'flood-1': 'bulk without a window, 1 connection',
    'flood-16': 'bulk without a window, 16 connections', 'churn': 'connect, exchange, close',
    'idle-9k': 'memory of an idle session',
}


# --- figures -----------------------------------------------------------------------------------------------------------

class Spread:
    """A median with its least and its largest value."""

    def __init__(self, values):
        self.median, self.min, self.max = statistics.median(values), min(values), max(values)

    def __str__(self):
        return f'{number(self.median)} [{number(self.min)}..{number(self.max)}]'

    def scaled(self, factor):
        return Spread([factor * value for value in (self.min, self.median, self.max)])


def number(value):
    if value == 0 or math.isnan(value):
        return '0' if value == 0 else '-'
    if abs(value) >= 1000:
        return f'{value:,.0f}'
    return f'{value:.3g}'


def spread(result, key):
    values = [sample[key] for sample in result['rounds'] if key in sample]
    return Spread(values) if values else None


def paired(result, base, value):
    """Of the one over of the other, round by round; `value` takes a round."""
    pairs = [(value(one), value(other)) for one, other in zip(result['rounds'], base['rounds'])]
    values = [one / other for one, other in pairs if one > 0 and other > 0]
    return Spread(values) if values else None


def cost(sample):
    return sample['cost']


def program(result):
    return result['contestant'].split('-')[0]


def spins(result):
    """Trades CPU for latency: no setting to compare CPU with."""
    return result['contestant'].endswith('-spin')


def rate(result):
    figure = spread(result, 'units_per_s').median
    return number(figure / 1e9) + ' GB/s' if result['cost_unit'] == 's/GB' else number(figure) + '/s'


class Bench:
    def __init__(self, paths):
        self.runs = [json.loads(path.read_text()) for path in paths]
        self.results = [result for run in self.runs for result in run['results'] if result['rounds']]
        self.texts = [path.with_suffix('.txt').read_text() for path in paths if path.with_suffix('.txt').exists()]
        self.entries = {entry['name']: entry for run in self.runs for entry in run['contestants']}

    def workloads(self, *kinds):
        """Those of these kinds (what stands before the first dash), in the order of the bench."""
        names = dict.fromkeys(result['workload'] for result in self.results)
        return [name for name in names if name.split('-')[0] in kinds]

    def of(self, workload):
        return [result for result in self.results if result['workload'] == workload]

    def one(self, workload, contestant):
        return next((result for result in self.of(workload) if result['contestant'] == contestant), None)

    def contests(self):
        names = dict.fromkeys(result['workload'] for result in self.results)
        return [name for name in names if name in WORDS and not name.startswith('idle-')]

    def best(self, workload, peer):
        """The peer's setting that costs the least here."""
        mine = [result for result in self.of(workload) if program(result) == peer and not spins(result)]
        return min(mine, key=lambda result: spread(result, 'cost').median, default=None)

    def over(self, workload, peer):
        """The cost of the peer's best setting over moonring's, or None."""
        best, base = self.best(workload, peer), self.one(workload, 'moonring')
        return paired(best, base, cost) if best and base else None

    def version(self, peer):
        found = next((re.search(r'\d+(\.\d+)+', entry['version']) for name, entry in self.entries.items()
                      if name.split('-')[0] == peer and entry['version']), None)
        return PEERS.get(peer, peer) + (f' {found.group()}' if found else '')


# --- text --------------------------------------------------------------------------------------------------------------

def table(head, rows):
    lines = ['| ' + ' | '.join(head) + ' |', '| ' + ' | '.join('---' for _ in head) + ' |']
    return '\n'.join(lines + ['| ' + ' | '.join(str(cell) for cell in row) + ' |' for row in rows]) + '\n'


def cell(figure):
    return '-' if figure is None else str(figure)


def code(name):
    return f'`{name}`'


def picture(folder, name, words, content):
    (folder / 'report').mkdir(exist_ok=True)
    (folder / 'report' / f'{name}.svg').write_text(content)
    return f'![{words}](report/{name}.svg)\n\n'


# --- in short ----------------------------------------------------------------------------------------------------------

def own_cost(bench, name):
    result = bench.one(name, 'moonring')
    return f"{number(spread(result, 'cost').median)} {result['cost_unit']}"


def block(bench):
    """What stands in README.md, too."""
    run = bench.runs[0]
    rows = []
    rounds = set()
    for name in bench.contests() + bench.workloads('idle')[-1:]:
        figures = [bench.over(name, peer) for peer in PEERS]
        own = bench.one(name, 'moonring')
        if name in WORDS and own and any(figures):
            rounds.add(len(own['rounds']))
            rows.append((WORDS[name], own_cost(bench, name), *(cell(figure) for figure in figures)))
    words = (f"CPU time (last row: memory) that others need for the same work, moonring = 1: median [least..largest] of "
             f"{' or '.join(map(str, sorted(rounds)))} paired rounds,\neach peer with its best setting for the workload, on one CPU of "
             f"{run['cpus']} x {run['cpu']}, {run['kernel']}, commit {run['commit']}, {run['date'][:10]}.\n\n")
    return (f'{BLOCK_BEGIN}\n' + words
            + table(('', 'moonring', *(bench.version(peer) for peer in PEERS)), rows) + BLOCK_END + '\n')


def readme_update(path, content):
    old = path.read_text()
    begin, end = old.find(BLOCK_BEGIN), old.find(BLOCK_END)
    if begin < 0 or end < begin:
        sys.exit(f'report.py: {path} has no place between {BLOCK_BEGIN} and {BLOCK_END}')
    path.write_text(old[:begin] + content + old[end + len(BLOCK_END) + 1:])


def in_short(bench, folder):
    groups = []
    for name in bench.contests():
        rows = [(bench.best(name, peer)['contestant'], bench.over(name, peer)) for peer in PEERS if bench.over(name, peer)]
        if rows:
            groups.append((WORDS[name], rows))
    return picture(folder, 'ratios', 'CPU for the same work', drawing.ratio_bars('CPU for the same work', groups))


# --- goals -------------------------------------------------------------------------------------------------------------

def verdict(figure, goal, at_most=False):
    """Met is what the whole spread fulfils."""
    if figure is None:
        return 'not measured'
    worst = figure.max <= goal if at_most else figure.min >= goal
    middle = figure.median <= goal if at_most else figure.median >= goal
    return '**met**' if worst else 'met by the median' if middle else '**missed**'


def targets(bench):
    rows = []
    for name, wanted in TARGETS.items():
        cells = []
        for peer, goal in zip(PEERS, wanted):
            figure = bench.over(name, peer)
            cells.append('-' if goal is None else f'{cell(figure)}, goal {goal}: {verdict(figure, goal)}')
        if bench.of(name):
            rows.append((WORDS[name], *cells))
    return table(('over', *PEERS.values()), rows)


def one_connection(bench):
    """Requests per second of a single connection, each proxy at its quickest."""
    own = bench.one('64B-1', 'moonring-spin')
    for peer, goal in (('haproxy-spin', 1.0), ('haproxy-16k', 2.7), ('nginx-16k', 2.7), ('epoll-spin', 1.0)):
        other = bench.one('64B-1', peer)
        if own and other:
            figure = paired(own, other, lambda sample: sample['units_per_s'])
            yield f'1 connection: requests/s of `moonring-spin` over {code(peer)}', figure, goal, False


def at_most(bench, words, workload, contestant, key, goal):
    result = bench.one(workload, contestant)
    if result:
        yield words, spread(result, key), goal, True


def other_goals(bench):
    yield from one_connection(bench)
    spin, sleep = bench.one('paced-20k', 'moonring-spin'), bench.one('paced-20k', 'moonring')
    if spin and sleep:
        yield '20,000 requests/s: CPU with `io.busy_poll` over that without', paired(spin, sleep, cost), 1.05, True
    yield from at_most(bench, 'system calls per request with `io.sqpoll`, 64 connections', 'ring-64B-64',
                       'moonring-sqpoll', 'system_calls_per_unit', 0.15)
    yield from at_most(bench, 'bytes of user memory for an idle session', 'idle-9k', 'moonring', 'cost', 512)
    yield from at_most(bench, 'ms from the start to the first answer', 'start', 'moonring', 'cost', 20)
    for result in bench.of('profile-64B-64'):
        if result['contestant'] == 'moonring':
            yield '% of the CPU in its own code, 64 B, 64 connections', spread(result, 'own_share').scaled(100), 12, True
    for result in bench.of('slow-readers'):
        if result['contestant'] == 'moonring':
            yield 'p99 beside slow readers over that without them', slow_growth(result), 1.5, True
    own = bench.one('filter-64B-64', 'moonring-empty')
    if own:
        yield 'us that an empty hook in Lua adds to a chunk', chunk(own), 0.15, True
    for peer in ('haproxy', 'nginx'):
        other = bench.one('filter-64B-64', f'{peer}-empty')
        if own and other:
            yield f'an empty filter of {PEERS[peer]} over that', least_times(other, own), 5, False


def goals(bench):
    rows = [(words, cell(figure), f"{'at most' if is_limit else 'at least'} {goal}", verdict(figure, goal, is_limit))
            for words, figure, goal, is_limit in other_goals(bench)]
    return ('A goal is met when the whole spread fulfils it.\n\n' + targets(bench) + '\n'
            + (table(('', 'figure', 'goal', ''), rows) if rows else ''))


# --- workload by workload ----------------------------------------------------------------------------------------------

def contest_sentence(bench, name):
    parts = []
    for peer in PEERS:
        figure, best = bench.over(name, peer), bench.best(name, peer)
        if figure:
            parts.append(f"{code(best['contestant'])} needs {number(figure.median)} times the CPU of moonring")
    return ('; '.join(parts) + '.\n\n') if parts else ''


def contest(bench, name):
    results = bench.of(name)
    rows = []
    for result in results:
        latencies = (number(spread(result, key).median or math.nan) for key in ('p50_us', 'p99_us', 'p999_us'))
        rows.append((code(result['contestant']), rate(result), *latencies, spread(result, 'cost'),
                     '-' if result is results[0] else paired(result, results[0], cost),
                     f"{100 * spread(result, 'foreign_share').max:.1f}"))
    columns = ('', 'rate', 'p50 us', 'p99 us', 'p99.9 us', results[0]['cost_unit'], 'ratio', 'other %')
    return f"### {WORDS.get(name, name)} ({code(name)})\n\n" + contest_sentence(bench, name) + table(columns, rows)


# --- latency -----------------------------------------------------------------------------------------------------------

def p999(sample):
    return sample['p999_us']


def tail_verdict(figure):
    """Five paired rounds: worse is what is worse in each of them."""
    if figure.min > 1:
        return 'moonring is better'
    return '**moonring is worse**' if figure.max < 1 else 'no difference beyond the spread'


def tails(bench, folder):
    names = [name for name in bench.workloads('tail') if name != 'tail-reach' and bench.one(name, 'moonring')]
    series, rows, worse = {}, [], 0
    for name in names:
        percent, own = int(name.split('-')[1]), bench.one(name, 'moonring')
        for result in bench.of(name):
            series.setdefault(result['contestant'], []).append((percent, spread(result, 'p999_us')))
            figure = None if result is own else paired(result, own, p999)
            worse += figure is not None and figure.max < 1
            rows.append((f'{percent} %', code(result['contestant']), rate(result), number(spread(result, 'p50_us').median),
                         number(spread(result, 'p99_us').median), spread(result, 'p999_us'), cell(figure),
                         tail_verdict(figure) if figure else '-'))
    if not rows:
        return ''
    reach = [f"{code(result['contestant'])} {rate(result)}" for result in bench.of('tail-reach')]
    words = ('Everybody gets the same requests at the same times, at shares of what the slowest reaches '
             f"({', '.join(reach)}); a latency counts from when its request was due. "
             + ('moonring\'s p99.9 is worse beyond the spread in none of the comparisons.\n\n' if worse == 0 else
                f'moonring\'s p99.9 is worse beyond the spread in {worse} of the comparisons.\n\n'))
    plot = drawing.line_plot('p99.9 against load', '% of the load that the slowest reaches', 'us', series)
    return words + picture(folder, 'tails', 'p99.9 against load', plot) + table(
        ('load', '', 'rate', 'p50 us', 'p99 us', 'p99.9 us', 'its p99.9 over moonring\'s', ''), rows)


def active(bench):
    rows = []
    for name in ('active-9500', '64B-9500'):
        own = bench.one(name, 'moonring')
        for result in bench.of(name) if own else []:
            figure = None if result is own else paired(result, own, lambda sample: sample['p99_us'])
            rows.append((code(name), code(result['contestant']), rate(result), spread(result, 'p50_us'),
                         spread(result, 'p99_us'), cell(figure)))
    return ('9,500 sessions, each of which goes on exchanging 64 B: first at 20,000 requests/s, which saturates nobody, then '
            'each as soon as it has its answer; there, a latency is mostly the queue of all the others.\n\n'
            + table(('workload', '', 'rate', 'p50 us', 'p99 us', 'its p99 over moonring\'s'), rows)) if rows else ''


def slow_growth(result):
    return Spread([sample['p99_us'] / sample['p99_alone_us'] for sample in result['rounds']])


def slow(bench):
    rows = [(code(result['contestant']), spread(result, 'p99_alone_us'), spread(result, 'p99_us'), slow_growth(result))
            for result in bench.of('slow-readers')]
    if not rows:
        return ''
    growth = [f"{code(result['contestant'])} {number(slow_growth(result).median)}" for result in bench.of('slow-readers')]
    return ('20,000 requests/s over 32 connections: p99 alone, and beside 32 connections whose clients leave nearly '
            'everything unread that their servers send. Each is the median of the p99 of 24 windows of '
            f"{number(bench.runs[0]['seconds'] / 10)} s: what happens in fewer than half of them, as a stall of the machine, does not "
            f"show. It grows so many times: {', '.join(growth)}.\n\n"
            + table(('', 'p99 us alone', 'p99 us beside them', 'ratio'), rows))


# --- where the CPU goes ------------------------------------------------------------------------------------------------

SHARES = ('own_share', 'liburing_share', 'library_share', 'kernel_share')


def profile(bench, folder):
    results = bench.of('profile-64B-64')
    if not results:
        return ''
    bars = [(result['contestant'], [spread(result, key).median for key in SHARES]) for result in results]
    rows = [(code(result['contestant']), *(spread(result, key).scaled(100) for key in SHARES)) for result in results]
    names = ('its own code', 'liburing', 'other libraries', 'the kernel')
    return ('64 B, 64 connections, sampled by `perf record -e cpu-clock` while it relays. What is not the proxy\'s own '
            'code is mostly TCP, which all of them need alike.\n\n'
            + picture(folder, 'profile', 'whose code takes the CPU', drawing.share_bars('Whose code takes the CPU', bars, names))
            + table(('', *(f'% in {name}' for name in names)), rows)
            + '\nThe same by hand: `make bench BENCH_FLAGS=\'--only profile\'`.\n')


def ring(bench):
    rows = []
    for result in bench.results:
        if result['workload'].startswith('ring-') and spread(result, 'submissions_per_turn'):
            is_bulk = result['cost_unit'] == 's/GB'
            rows.append((code(result['workload'].removeprefix('ring-')), code(result['contestant']),
                         '-' if is_bulk else spread(result, 'system_calls_per_unit'),
                         number(spread(result, 'submissions_per_turn').median),
                         number(spread(result, 'completions_per_turn').median),
                         number(spread(result, 'arms_per_million_receives').median),
                         number(spread(result, 'arms_per_million_accepts').median)))
    return ('One `io_uring_enter` submits and reaps for all sessions that have something to do, so a request takes a '
            'fraction of one. A multishot request goes on for many completions: how often one must be made anew, for a '
            'million of them, stands at the right (0: it never ended; bulk flows are given room piece by piece, and '
            'spliced ones receive nothing).\n\n'
            + table(('workload', '', '`io_uring_enter` per request (connection)', 'submissions per turn',
                     'completions per turn', 'receive requests per million receives',
                     'accept requests per million accepts'), rows)) if rows else ''


# --- memory, filters, the rest -----------------------------------------------------------------------------------------

IDLE_SIZES = {'idle-1k': 1000, 'idle-3k': 3000, 'idle-9k': 9500}
MILLION_PER_GIB = 1e6 / 2**30


def idle(bench, folder):
    names = [name for name in IDLE_SIZES if bench.of(name)]
    series, rows = {}, []
    for result in bench.of(names[-1]) if names else []:
        contestant = result['contestant']
        mine = [bench.one(name, contestant) for name in names]
        if not all(mine):
            continue
        series[contestant] = [(IDLE_SIZES[one['workload']], spread(one, 'cost')) for one in mine]
        user, kernel = (spread(result, key).median * MILLION_PER_GIB for key in ('cost', 'kernel_memory'))
        rows.append((code(contestant), *(spread(one, 'cost') for one in mine), spread(result, 'kernel_memory'),
                     f'{number(user)} GiB', f'{number(kernel)} GiB'))
    if not rows:
        return ''
    sizes = [f'{IDLE_SIZES[name]:,} sessions' for name in names]
    plot = drawing.line_plot('User memory of an idle session', 'sessions', 'B', series,
                             {size: f'{size:,}' for size in IDLE_SIZES.values()})
    return ('Resident memory of the proxy that each session after the 500th adds, and what it adds to the slabs of the '
            'kernel: four sockets, since both peers are on this machine; with peers elsewhere it is half of that. The last '
            'two columns are the same on paper for a million sessions.\n\n'
            + picture(folder, 'idle', 'user memory of an idle session', plot)
            + table(('B/session', *sizes, 'kernel, all four sockets', 'a million: user', 'a million: kernel'), rows))


def start(bench):
    rows = [(code(result['contestant']), spread(result, 'cost')) for result in bench.of('start')]
    return ('From the start of the program, with the configuration of one listener, to the first answer through it.\n\n'
            + table(('', 'ms'), rows)) if rows else ''


def chunk(result):
    figure = result['added_us_per_chunk']
    return Spread([figure['min'], figure['median'], figure['max']])


def least_times(other, own):
    """From its least over the most of moonring's, to the other way round."""
    theirs, mine = chunk(other), chunk(own)
    if mine.min <= 0:
        return None
    return Spread([theirs.min / mine.max, theirs.median / mine.median, theirs.max / mine.min])


def filters(bench):
    rows = []
    for result in bench.results:
        if 'added_us_per_chunk' not in result:
            continue
        rival = bench.one(result['workload'], 'moonring-' + result['filter'])
        times = least_times(result, rival) if rival and rival is not result else '-'
        rows.append((code(result['workload'].removeprefix('filter-')), code(result['contestant']), chunk(result),
                     times or "moonring's does not show"))
    return ('What a filter adds to each chunk that it sees, measured in turns of 50 ms with it and without it in one '
            'process. The last column compares with moonring\'s filter of the same kind: the medians, and from the least '
            'over its most to the most over its least.\n\n'
            + table(('workload', 'filter', 'us per chunk', 'times moonring\'s'), rows)) if rows else ''


def printed(bench, begin):
    """The last table of the bench's own that begins so, up to an empty line."""
    for words in reversed(bench.texts):
        at = words.rfind('\n' + begin) + 1
        if at > 0:
            return '```\n' + words[at:].split('\n\n')[0].rstrip() + '\n```\n'
    return ''


def turns_over_2_ms(lines):
    """All turns, and those over 2 ms by the worker's own time and by the clock: of the rows that reload.c prints."""
    all_of, worked, took = 0, 0, 0
    for line in lines:
        title, work, time = line.split('|')[:3]
        all_of, worked, took = all_of + int(title.split()[-1]), worked + int(work.split()[4]), took + int(time.split()[4])
    return all_of, worked, took


def reloads(bench):
    body = printed(bench, 'reloads with ')
    rows = [line for line in body.splitlines() if line.startswith(('paced, ', 'closed loop, '))]
    beside = turns_over_2_ms(line for line in rows if 'no reload' not in line)
    without = turns_over_2_ms(line for line in rows if 'no reload' in line)
    return ('Latencies and turns of the worker while a large configuration is read again twice a second, and without '
            f'that. Beside reloads {beside[1]} of {beside[0]:,} turns worked for more than 2 ms and {beside[2]} took as long '
            f'by the clock; without them, {without[1]} and {without[2]} of {without[0]:,}.\n\n' + body) if body else ''


def rules(bench):
    body = printed(bench, 'a look-up among ')
    return 'What `allow`, `deny` and limits by source cost a client, in process.\n\n' + body if body else ''


# --- curves ------------------------------------------------------------------------------------------------------------

CURVES = {'connections': 'connections', 'size': 'bytes in a message', 'listeners': 'listeners', 'servers': 'servers'}
BINARY = {1: '1', 64: '64', 1024: '1 KiB', 4096: '4 KiB', 16384: '16 KiB', 65536: '64 KiB', 262144: '256 KiB',
          1048576: '1 MiB'}
CURVE_KEYS = (('units_per_s', 'rate', '1/s'), ('p99_us', 'p99', 'us'), ('cost', 'CPU per unit', 'us'))


# What a curve's shape comes from.
EXPLANATIONS = {
    'connections': 'One connection is served between two sleeps, its own and the load generator\'s. From 512 connections on a '
                   'request costs everybody more, the twin too, which has next to no code of its own: it is the kernel that '
                   'pays for so many sockets.',
    'size': 'Bytes cost next to nothing up to some KiB; from 12 KiB on moonring splices, which costs the more bytes the less. The '
            'rate is what the load generator can do, whose two ends share one CPU. Beside a proxy that splices they need more '
            'for a message; how much changes with the state of the machine, and why is not known (decisions/0020). ',
    'listeners': 'How many there are makes no difference: each has a socket, and the kernel finds it.',
    'servers': 'Taking turns among so many is a heap, whose cost grows with its depth.',
}


def both_together(bench, name):
    """The CPU of proxy and load generator for a unit of work."""
    parts = []
    for result in bench.of(name):
        own, others = (spread(result, key).median for key in ('cost', 'generator_cost'))
        parts.append(f"{code(result['contestant'])} {number(own)} and {number(others)} us")
    return 'Proxy and load generator, at the longest: ' + '; '.join(parts) + '.'


def curve_series(bench, names, key):
    series = {}
    for name in names:
        for result in bench.of(name):
            series.setdefault(result['contestant'], []).append((int(name.split('-')[1]), spread(result, key)))
    return series


def curve_sentence(series, x_name):
    parts = []
    for contestant, points in series.items():
        (least_x, least), (most_x, most) = (end(points, key=lambda point: point[1].median) for end in (min, max))
        parts.append(f'{code(contestant)} {number(least.median)} us at {least_x:,}, {number(most.median)} us at {most_x:,}')
    return f'The least and the most CPU for a unit of work, by {x_name}: ' + '; '.join(parts) + '.\n\n'


def curve(bench, folder, kind):
    x_name, names = CURVES[kind], bench.workloads(kind)
    if not names:
        return ''
    pictures = ''
    for key, words, y_name in CURVE_KEYS:
        title = f'{words} against {x_name}'
        plot = drawing.line_plot(title, x_name, y_name, curve_series(bench, names, key), BINARY if kind == 'size' else None)
        pictures += picture(folder, f'{kind}-{key}', title, plot)
    rows = [(f"{int(name.split('-')[1]):,}", code(result['contestant']), rate(result), spread(result, 'p99_us'),
             spread(result, 'cost')) for name in names for result in bench.of(name)]
    explanation = EXPLANATIONS[kind] + (both_together(bench, names[-1]) if kind == 'size' else '') + '\n\n'
    return (curve_sentence(curve_series(bench, names, 'cost'), x_name) + explanation + pictures
            + table((x_name, '', 'rate', 'p99 us', 'CPU us'), rows))


# --- the report --------------------------------------------------------------------------------------------------------

def circumstances(bench):
    run = bench.runs[0]
    rows = [('date', run['date']), ('commit', run['commit']), ('kernel', run['kernel']),
            ('CPU', f"{run['cpus']} x {run['cpu']}"), ('congestion control', run['congestion_control']),
            (code('net.core.skb_defer_max'), run.get('skb_defer_max', '-')),
            ('rounds', f"{run['rounds']} of {run['seconds']} s, alternating; five where differences are small"),
            ('where', 'proxy on CPU 1, load generator and server on CPU 0, loopback')]
    entries = [(code(name), entry['version'] or '-', entry['about']) for name, entry in bench.entries.items()]
    notes = ''.join(run['notes'] for run in bench.runs)
    return table(('', ''), rows) + '\n' + table(('contestant', 'version', 'settings'), entries) + '\n' + notes


def section(title, body):
    return f'## {title}\n\n{body}' if body else ''


def report(bench, folder):
    contests = bench.contests()
    parts = ['# What the bench has shown\n\nMade by `make bench-report` from the figures of `make bench` and '
             '`make bench-curves`; README.md says how they come about. Each figure is a median [least..largest] of the '
             'rounds. A ratio is paired, round by round; above 1, moonring needs less. The table of contestants stands at '
             'the end.\n',
             section('In short', block(bench) + '\n' + in_short(bench, folder)),
             section('Goals', goals(bench)),
             section('Workload by workload', '\n'.join(contest(bench, name) for name in contests)),
             section('Tail latency at the same load', tails(bench, folder)),
             section('9,500 active sessions', active(bench)),
             section('Beside slow readers', slow(bench)),
             section('Whose code takes the CPU', profile(bench, folder)),
             section('How the ring is used', ring(bench)),
             section('Idle sessions', idle(bench, folder)),
             section('Starting', start(bench)),
             section('What a filter adds', filters(bench)),
             section('What rules cost', rules(bench)),
             section('Reloads under load', reloads(bench))]
    parts += [section('Two workers', 'They share CPU 0 with the load generator: an order, no exact figure.\n\n'
                      + contest(bench, name)) for name in bench.workloads('workers')]
    parts += [section(f'Against {words}', curve(bench, folder, kind)) for kind, words in CURVES.items()]
    parts.append(section('Where and with what', circumstances(bench)))
    (folder / 'REPORT.md').write_text('\n'.join(part.rstrip() + '\n' for part in parts if part))


def main(words):
    if len(words) < 4:
        sys.exit(__doc__)
    folder, readme, paths = pathlib.Path(words[1]), pathlib.Path(words[2]), [pathlib.Path(word) for word in words[3:]]
    bench = Bench(paths)
    commits = {run['commit'] for run in bench.runs}
    if len(commits) > 1:
        sys.exit(f'report.py: figures of several commits do not belong together: {", ".join(sorted(commits))}')
    report(bench, folder)
    readme_update(readme, block(bench))
    print(f'{folder}/REPORT.md')


if __name__ == '__main__':
    main(sys.argv)
