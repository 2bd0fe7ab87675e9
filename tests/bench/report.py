#!/usr/bin/env python3
"""Draws the figures of the bench: report.py FOLDER FILE.json...

Writes FOLDER/REPORT.md and, beside it, FOLDER/report/*.svg. Each JSON file is what `benchmark --json` wrote; a text file
of the same name with .txt at its end (what the bench printed) adds the table of reloads. The files must be of one commit.
"""
import json
import math
import pathlib
import statistics
import sys
from html import escape

COLOURS = {'moonring': '#c0392b', 'haproxy': '#2471a3', 'nginx': '#1e8449', 'epoll': '#7d6608', 'direct': '#7f8c8d'}
# How much less moonring is to need than each peer's best setting.
TARGETS = {
    '64B-64': (1.20, 1.15, 1.04), '64B-512': (1.28, 1.25, 1.10), '64B-4096': (1.5, 1.25, 1.08),
    '4KiB-64': (1.15, 1.10, 1.03), '16KiB-64': (1.25, 1.18, 1.1), '64KiB-64': (1.15, 1.7, 1.0),
    'bulk-16': (1.5, 2.5, 1.0), 'bulk-1': (1.6, 1.35, 1.0), 'churn': (1.22, 1.14, 1.10), 'idle-9k': (6, 18, None),
}


# --- figures -----------------------------------------------------------------------------------------------------------

class Spread:
    """A median with its least and its largest value."""

    def __init__(self, values):
        self.median, self.min, self.max = statistics.median(values), min(values), max(values)

    def __str__(self):
        return f'{number(self.median)} [{number(self.min)}..{number(self.max)}]'


def number(value):
    if value == 0 or math.isnan(value):
        return '0' if value == 0 else '-'
    if abs(value) >= 1000:
        return f'{value:.0f}'
    return f'{value:.3g}'


def spread(result, key):
    values = [sample[key] for sample in result['rounds'] if key in sample]
    return Spread(values) if values else None


def program(result):
    return result['contestant'].split('-')[0]


def rate(result):
    figure = spread(result, 'units_per_s')
    return number(figure.median / 1e9) + ' GB/s' if result['cost_unit'] == 's/GB' else number(figure.median) + '/s'


def ratios(result, base):
    """Its cost over the other's, round by round."""
    pairs = zip(result['rounds'], base['rounds'])
    values = [one['cost'] / other['cost'] for one, other in pairs if one['cost'] > 0 and other['cost'] > 0]
    return Spread(values) if values else None


class Bench:
    def __init__(self, paths):
        self.runs = [json.loads(path.read_text()) for path in paths]
        self.results = [result for run in self.runs for result in run['results']]
        self.texts = [path.with_suffix('.txt').read_text() for path in paths if path.with_suffix('.txt').exists()]

    def workloads(self, wanted):
        names = dict.fromkeys(result['workload'] for result in self.results if result['rounds'])
        return [name for name in names if wanted(name)]

    def of(self, workload):
        return [result for result in self.results if result['workload'] == workload and result['rounds']]


def is_curve(name):
    return name.split('-')[0] in ('connections', 'size', 'listeners', 'servers')


def is_contest(name):
    return not is_curve(name) and name.split('-')[0] not in ('filter', 'workers', 'ring', 'idle')


# --- drawing -----------------------------------------------------------------------------------------------------------

def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            + '\n'.join(parts) + '\n</svg>\n')


def text(x, y, words, anchor='start', colour='#222'):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def line(x1, y1, x2, y2, colour='#bbb', width=1.0):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def ratio_bars(bench, names):
    """What each peer's best setting needs for one unit of moonring's: a bar, and its least and largest value."""
    rows = []
    for name in names:
        base, *others = bench.of(name)
        for peer in ('haproxy', 'nginx', 'epoll'):
            best = best_of(others, peer)
            if best and ratios(best, base):
                rows.append((name, best['contestant'], ratios(best, base)))
    left, top, height, width = 190, 30, 18, 760
    largest = max([row[2].max for row in rows], default=1)
    scale = (width - left - 70) / largest
    parts = [text(left, 18, 'CPU (idle: memory) for the same work, moonring = 1')]
    for index, (name, contestant, figure) in enumerate(rows):
        y = top + index * height
        shown = name if index == 0 or rows[index - 1][0] != name else ''
        middle = y + height / 2
        parts += [text(4, middle + 4, shown), text(left - 6, middle + 4, contestant, 'end'),
                  f'<rect x="{left}" y="{y + 2}" width="{figure.median * scale:.1f}" height="{height - 4}" '
                  f'fill="{COLOURS[contestant.split("-")[0]]}" opacity="0.75"/>',
                  line(left + figure.min * scale, middle, left + figure.max * scale, middle, '#222', 1.5),
                  text(left + figure.max * scale + 5, middle + 4, number(figure.median))]
    parts.append(line(left + scale, top - 4, left + scale, top + len(rows) * height, '#c0392b', 1.5))
    return svg(width, top + len(rows) * height + 10, parts)


def ticks(low, high):
    """Powers of ten around the values."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0 ** exponent for exponent in range(first, max(last, first + 1) + 1)]


def tick_text(value):
    for unit, name in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if value >= unit:
            return f'{value / unit:g}{name}'
    return f'{value:g}'


def line_plot(title, x_name, y_name, series):
    """series: name -> [(x, Spread)]. Both axes are logarithmic."""
    width, height, left, right, top, bottom = 560, 340, 70, 120, 34, 48
    points = [point for values in series.values() for point in values if point[0] > 0 and point[1].min > 0]
    x_ticks = ticks(min(point[0] for point in points), max(point[0] for point in points))
    y_ticks = ticks(min(point[1].min for point in points), max(point[1].max for point in points))

    def place(value, ends, low, high):
        share = (math.log10(value) - math.log10(ends[0])) / (math.log10(ends[-1]) - math.log10(ends[0]))
        return low + share * (high - low)

    def x_of(value):
        return place(value, x_ticks, left, width - right)

    def y_of(value):
        return place(value, y_ticks, height - bottom, top)

    parts = [text(left, 18, title), text((left + width - right) / 2, height - 10, x_name, 'middle'),
             text(6, top - 6, y_name)]
    for tick in x_ticks:
        parts += [line(x_of(tick), top, x_of(tick), height - bottom, '#eee'),
                  text(x_of(tick), height - bottom + 16, tick_text(tick), 'middle')]
    for tick in y_ticks:
        parts += [line(left, y_of(tick), width - right, y_of(tick), '#eee'),
                  text(left - 6, y_of(tick) + 4, tick_text(tick), 'end')]
    for index, (name, values) in enumerate(series.items()):
        colour = COLOURS.get(name.split('-')[0], '#555')
        path = ' '.join(f'{x_of(x):.1f},{y_of(figure.median):.1f}' for x, figure in values if figure.min > 0)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, figure in values:
            if figure.min > 0:
                parts.append(line(x_of(x), y_of(figure.min), x_of(x), y_of(figure.max), colour, 1.5))
                parts.append(f'<circle cx="{x_of(x):.1f}" cy="{y_of(figure.median):.1f}" r="3" fill="{colour}"/>')
        parts.append(text(width - right + 10, top + 16 * (index + 1), name, colour=colour))
    return svg(width, height, parts)


# --- tables ------------------------------------------------------------------------------------------------------------

def table(head, rows):
    lines = ['| ' + ' | '.join(head) + ' |', '| ' + ' | '.join('---' for _ in head) + ' |']
    return '\n'.join(lines + ['| ' + ' | '.join(str(cell) for cell in row) + ' |' for row in rows]) + '\n'


def best_of(results, peer):
    mine = [result for result in results if program(result) == peer]
    return min(mine, key=lambda result: spread(result, 'cost').median, default=None)


def head(bench):
    run = bench.runs[0]
    rows = [('date', run['date']), ('commit', run['commit']), ('kernel', run['kernel']),
            ('CPU', f"{run['cpus']} x {run['cpu']}"), ('congestion control', run['congestion_control']),
            ('rounds', f"{run['rounds']} of {run['seconds']} s (three times as many for filters), alternating")]
    known = {entry['name']: entry for one in bench.runs for entry in one['contestants']}
    entries = [(f"`{name}`", entry['version'] or '-', entry['about']) for name, entry in known.items()]
    notes = ''.join(run['notes'] for run in bench.runs)
    return table(('', ''), rows) + '\n' + table(('contestant', 'version', 'settings'), entries) + '\n' + notes


def contest(bench, name):
    results = bench.of(name)
    rows = []
    for result in results:
        figure = ratios(result, results[0])
        rows.append((f"`{result['contestant']}`", rate(result), *(number(spread(result, key).median or math.nan) for key in
                     ('p50_us', 'p99_us', 'p999_us')), spread(result, 'cost'),
                     '-' if result is results[0] else figure,
                     f"{100 * spread(result, 'foreign_share').max:.1f}"))
    columns = ('', 'rate', 'p50 us', 'p99 us', 'p99.9 us', results[0]['cost_unit'], 'ratio', 'other %')
    return f'### {name}\n\n' + table(columns, rows)


def verdict(figure, target):
    if target is None:
        return '-'
    if figure is None:
        return 'not measured'
    state = 'met' if figure.min > target else 'reached by the median' if figure.median >= target else 'missed'
    return f'{figure}, target {target}: {state}'


def targets(bench):
    rows = []
    for name, wanted in TARGETS.items():
        results = bench.of(name)
        if not results:
            continue
        cells = []
        for peer, target in zip(('haproxy', 'nginx', 'epoll'), wanted):
            best = best_of(results[1:], peer)
            figure = ratios(best, results[0]) if best else None
            cells.append(verdict(figure, target) + (f" (`{best['contestant']}`)" if best else ''))
        rows.append((name, *cells))
    return table(('workload', 'over HAProxy\'s best', 'over nginx\' best', 'over the epoll twin'), rows)


def ring(bench):
    rows = []
    for result in bench.results:
        figure = spread(result, 'submissions_per_turn')
        if figure and not is_curve(result['workload']) and not result['workload'].startswith('filter'):
            exchange = result['cost_unit'] == 'us/request'
            rows.append((result['workload'], f"`{result['contestant']}`",
                         spread(result, 'system_calls_per_unit') if exchange else '-', number(figure.median),
                         number(spread(result, 'completions_per_turn').median),
                         number(spread(result, 'arms_per_million_receives').median)))
    return table(('workload', '', 'io_uring_enter for a request', 'submissions a turn', 'completions a turn',
                  'receive requests for a million chunks'), rows)


def idle(bench, folder):
    sizes = {'idle-1k': 1000, 'idle-3k': 3000, 'idle-9k': 9500}
    names = [name for name in sizes if bench.of(name)]
    series, rows = {}, []
    for name in names:
        for result in bench.of(name):
            series.setdefault(result['contestant'], []).append((sizes[name], spread(result, 'cost')))
    for contestant, values in series.items():
        last = values[-1][1].median
        rows.append((f'`{contestant}`', *(figure for _, figure in values), f'{last * 1e6 / 2**20:.0f} MiB'))
    write(folder, 'idle.svg', line_plot('User memory of an idle session', 'sessions', 'B', series))
    return '![idle](report/idle.svg)\n\n' + table(('B/session', *names, 'a million, at the last'), rows) + (
        '\nResident memory that the sessions after the 500th add. Each also costs the kernel two sockets.\n')


def filters(bench):
    rows = [(result['workload'], f"`{result['contestant']}`", f"`{result['over']}`", triple(result, 'added_us_per_chunk'))
            for result in bench.results if 'added' in result and result['workload'].startswith('filter')]
    return table(('workload', 'filter', 'over', 'us a chunk'), rows)


def triple(result, key):
    figure = result.get(key)
    return f"{number(figure['median'])} [{number(figure['min'])}..{number(figure['max'])}]" if figure else '-'


def curve(bench, folder, kind, x_name):
    names = bench.workloads(lambda name: name.split('-')[0] == kind)
    answer = []
    for key, y_name, words in (('units_per_s', '/s', 'Rate'), ('p99_us', 'us', 'p99'), ('cost', 'us', 'CPU per unit')):
        series = {}
        for name in names:
            for result in bench.of(name):
                series.setdefault(result['contestant'], []).append((int(name.split('-')[1]), spread(result, key)))
        if series:
            write(folder, f'{kind}-{key}.svg', line_plot(f'{words} against {x_name}', x_name, y_name, series))
            answer.append(f'![{words} against {x_name}](report/{kind}-{key}.svg)')
    rows = [(name.split('-')[1], f"`{result['contestant']}`", rate(result), spread(result, 'p99_us'), spread(result, 'cost'))
            for name in names for result in bench.of(name)]
    return '\n'.join(answer) + '\n\n' + table((x_name, '', 'rate', 'p99 us', 'CPU us'), rows)


def reloads(bench):
    """The last table that the bench printed."""
    for printed in bench.texts:
        at = printed.find('\nreloads with ') + 1
        if at > 0:
            return '```\n' + printed[at:].rstrip() + '\n```\n'
    return ''


# --- the report --------------------------------------------------------------------------------------------------------

def write(folder, name, content):
    (folder / 'report').mkdir(exist_ok=True)
    (folder / 'report' / name).write_text(content)


def section(title, body):
    return f'## {title}\n\n{body}\n' if body else ''


def report(bench, folder):
    contests = bench.workloads(is_contest)
    idles = bench.workloads(lambda name: name.startswith('idle-'))
    parts = ['# What the bench has shown\n\nMade by `make bench-report` from the figures of `make bench`; README.md says how '
             'they come about and how to read them. Each is a median [least..largest] of the rounds; a ratio is paired, round '
             'by round, and above 1 moonring needs less.\n\n', head(bench)]
    if contests:
        write(folder, 'ratios.svg', ratio_bars(bench, contests + idles[-1:]))
        parts.append(section('In short', '![ratios](report/ratios.svg)\n\n' + targets(bench)))
        parts.append(section('Workload by workload', '\n'.join(contest(bench, name) for name in contests)))
    if idles:
        parts.append(section('Idle sessions', idle(bench, folder)))
    for name in bench.workloads(lambda name: name.startswith('workers-')):
        parts.append(section('Two workers', 'They share CPU 0 with the load generator.\n\n' + contest(bench, name)))
    parts.append(section('How the ring is used', ring(bench)))
    if bench.workloads(lambda name: name.startswith('filter-')):
        parts.append(section('What a filter adds', filters(bench)))
    parts.append(section('Reloads under load', reloads(bench)))
    for kind, x_name in (('connections', 'connections'), ('size', 'bytes of a message'), ('listeners', 'listeners'),
                         ('servers', 'servers')):
        if bench.workloads(lambda name, kind=kind: name.split('-')[0] == kind):
            parts.append(section(f'Against {x_name}', curve(bench, folder, kind, x_name)))
    (folder / 'REPORT.md').write_text('\n'.join(part for part in parts if part))


def main(words):
    if len(words) < 3:
        sys.exit(__doc__)
    folder, paths = pathlib.Path(words[1]), [pathlib.Path(word) for word in words[2:]]
    bench = Bench(paths)
    commits = {run['commit'] for run in bench.runs}
    if len(commits) > 1:
        sys.exit(f'report.py: figures of several commits do not belong together: {", ".join(sorted(commits))}')
    report(bench, folder)
    print(f'{folder}/REPORT.md')


if __name__ == '__main__':
    main(sys.argv)
