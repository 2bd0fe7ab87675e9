"""Drawings for report.py: SVG by hand, since a report needs no more than bars and lines."""
import math
from html import escape

COLOURS = {'moonring': '#c0392b', 'haproxy': '#2471a3', 'nginx': '#1e8449', 'epoll': '#b7950b', 'direct': '#7f8c8d'}
INK, GREY, PALE = '#222', '#777', '#e4e4e4'


def colour_of(name):
    return COLOURS.get(name.split('-')[0], '#555')


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            + '\n'.join(parts) + '\n</svg>\n')


def text(x, y, words, anchor='start', colour=INK, weight='normal'):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">'
            f'{escape(words)}</text>')


def line(x1, y1, x2, y2, colour=GREY, width=1.0):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def bar(x, y, width, height, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{colour}"/>'


def short(value):
    """For an axis: 2k, 50M."""
    for unit, name in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if value >= unit:
            return f'{value / unit:g}{name}'
    return f'{value:g}'


# --- bars --------------------------------------------------------------------------------------------------------------

BAR_LONGEST = 3.0  # times moonring's; what is longer is cut off and says so


def ratio_bars(title, groups):
    """groups: [(workload, [(contestant, Spread)])]. Bars from 0, with a line at 1: moonring."""
    left, top, height, gap, width = 340, 44, 16, 10, 860
    scale = (width - left - 110) / BAR_LONGEST
    one = left + scale
    y, parts = top, []
    for workload, rows in groups:
        parts.append(text(8, y + 12, workload, weight='bold'))
        for contestant, figure in rows:
            end = left + min(figure.median, BAR_LONGEST) * scale
            is_cut = figure.median > BAR_LONGEST
            least, most = (left + min(bound, BAR_LONGEST) * scale for bound in (figure.min, figure.max))
            words_x = max(end, most) + 8
            if words_x < one + 6 < words_x + 40:
                words_x = one + 6  # the line at 1 would run through it
            parts += [text(left - 8, y + 12, contestant, 'end', GREY),
                      bar(left, y + 2, end - left, height - 4, colour_of(contestant)),
                      text(words_x, y + 12, f'{figure.median:.2f}' + (' (cut off)' if is_cut else '')),
                      '' if is_cut else line(least, y + height / 2, most, y + height / 2, INK, 1.5)]
            y += height
        y += gap
    axis = [text(left, 18, title, weight='bold'), line(left, top - 6, left, y, GREY)]
    axis += [line(one, top - 6, one, y, COLOURS['moonring'], 2),
             text(one, top - 10, 'moonring', 'middle', COLOURS['moonring'])]
    return svg(width, y + 6, parts + axis)


def share_bars(title, rows, names):
    """rows: [(contestant, [shares of 1])]: one bar each, in parts that names tell; the figure of the first part."""
    left, top, height, width = 120, 62, 28, 860
    shades = ('#c0392b', '#6c3483', '#e59866', '#d5d8dc')
    scale = width - left - 20
    parts, x = [text(left, 18, title, weight='bold')], left
    for name, shade in zip(names, shades):
        parts += [bar(x, 32, 12, 12, shade), text(x + 18, 43, name)]
        x += 40 + 7 * len(name)
    for index, (contestant, shares) in enumerate(rows):
        y, x = top + index * height, left
        parts.append(text(left - 8, y + 16, contestant, 'end'))
        for share, shade in zip(shares, shades):
            parts.append(bar(x, y + 3, share * scale, height - 8, shade))
            x += share * scale
    return svg(width, top + len(rows) * height + 6, parts)


# --- lines -------------------------------------------------------------------------------------------------------------

def ticks_log(low, high):
    """1, 2, 5, 10, ... within the ends; powers of ten alone where that is enough."""
    decades = math.log10(high / low)
    steps = (1,) if decades > 3 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 4, 6, 8)
    first = math.floor(math.log10(low))
    all_ticks = [step * 10.0 ** exponent for exponent in range(first, first + math.ceil(decades) + 2) for step in steps]
    return [tick for tick in all_ticks if low * 0.999 <= tick <= high * 1.001]


class Axis:
    """Logarithmic: equal distances are equal ratios. It spans at least the ratio `span`: small ones shall look small."""

    def __init__(self, values, begin, end, room, span):
        low, high = min(values), max(values)
        room *= max(1, math.sqrt(span / (high / low)))
        self.low, self.high = low / room, high * room
        self.begin, self.end = begin, end
        self.ticks = ticks_log(self.low, self.high)

    def __call__(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + share * (self.end - self.begin)


def labels_apart(wanted, distance):
    """Where labels go that are wanted at certain heights: in that order, and none on top of another."""
    placed = {}
    at = -math.inf
    for name, y in sorted(wanted.items(), key=lambda item: item[1]):
        at = max(y, at + distance)
        placed[name] = at
    return placed


def line_plot(title, x_name, y_name, series, x_names=None):
    """series: name -> [(x, Spread)]; x_names: x -> how it is written. Both axes are logarithmic."""
    width, height, left, right, top, bottom = 860, 330, 64, 130, 46, 46
    series = {name: [point for point in values if point[0] > 0 and point[1].min > 0] for name, values in series.items()}
    series = {name: values for name, values in series.items() if values}
    points = [point for values in series.values() for point in values]
    x_of = Axis([x for x, _ in points], left, width - right, 1.04, 1.2)
    y_of = Axis([bound for _, figure in points for bound in (figure.min, figure.max)], height - bottom, top, 1.15, 6)
    parts = [text(left, 18, title, weight='bold'), text(left - 6, top - 12, y_name, 'end', GREY),
             text((left + width - right) / 2, height - 8, x_name, 'middle', GREY)]
    for x in sorted({x for x, _ in points}):
        parts += [line(x_of(x), top, x_of(x), height - bottom, PALE),
                  text(x_of(x), height - bottom + 16, (x_names or {}).get(x, short(x)), 'middle')]
    for tick in y_of.ticks:
        parts += [line(left, y_of(tick), width - right, y_of(tick), PALE),
                  text(left - 6, y_of(tick) + 4, short(tick), 'end')]
    for name, values in series.items():
        colour = colour_of(name)
        path = ' '.join(f'{x_of(x):.1f},{y_of(figure.median):.1f}' for x, figure in values)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, figure in values:
            parts += [line(x_of(x), y_of(figure.min), x_of(x), y_of(figure.max), colour, 1.5),
                      f'<circle cx="{x_of(x):.1f}" cy="{y_of(figure.median):.1f}" r="3.5" fill="{colour}"/>']
    ends = {name: y_of(values[-1][1].median) for name, values in series.items()}
    for name, y in labels_apart(ends, 15).items():
        parts.append(text(width - right + 12, y + 4, name, colour=colour_of(name), weight='bold'))
    return svg(width, height, parts)
