//! The results of the benchmark, as pictures.

#![forbid(unsafe_code)]

use super::plans::{BASE, size};
use crate::bench::plan::{AGAIN, Kind, Placement};
use crate::bench::run::{Line, Outcome, Run};
use crate::ways::sinks::Sink;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;

/// A picture: the name of its file, and its SVG text.
pub type Picture = (&'static str, String);
type Area<'buffer> = DrawingArea<SVGBackend<'buffer>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const SENDER: RGBColor = RGBColor(31, 119, 180);
const RECEIVER: RGBColor = RGBColor(174, 199, 232);
const MARK: RGBColor = RGBColor(214, 39, 40);
const GRAY: RGBColor = RGBColor(120, 120, 120);
/// Colors of lines, in the order in which they are used.
const COLORS: &[RGBColor] = &[SENDER, MARK, RGBColor(44, 160, 44), RGBColor(255, 127, 14), RGBColor(148, 103, 189)];

/// Every picture for which the run has results.
pub fn draw(run: &Run) -> Result<Vec<Picture>, Box<dyn Error>> {
    let to_tcp = |outcome: &&Outcome| {
        outcome.kind == Kind::Ways
            && outcome.sink == Sink::Tcp.name()
            && outcome.placement == Placement::Same
            && outcome.congestion.is_some()
    };
    let mut pictures = Vec::new();
    if let Some(outcome) = run.outcomes.iter().find(to_tcp) {
        pictures.push(("cpu.svg", picture(outcome, run, cpu)?));
        pictures.push(("faster.svg", picture(outcome, run, faster)?));
    }
    let of_kind = |kind| -> Vec<&Outcome> {
        let outcomes = run.outcomes.iter();
        outcomes.filter(|outcome| outcome.kind == kind).collect()
    };
    let sizes = of_kind(Kind::Size);
    if !sizes.is_empty() {
        pictures.push((
            "size.svg",
            chart(run, "CPU of both ends by the size of the file, to TCP", &sizes, &by_size(&sizes))?,
        ));
    }
    let pipes = of_kind(Kind::Pipe);
    if !pipes.is_empty() {
        pictures.push((
            "pipe.svg",
            chart(run, "CPU of both ends of splice, by the capacity of the pipe", &pipes, &by_pipe(&pipes))?,
        ));
    }
    if let Some(outcome) = of_kind(Kind::Chunk).first() {
        pictures.push((
            "chunk.svg",
            chart(run, "CPU of both ends by what one call sends, to TCP", &[outcome], &by_chunk(outcome))?,
        ));
    }
    Ok(pictures)
}

const WIDTH: u32 = 860;
const LEFT: i32 = 230;
const ROW: i32 = 26;
const TOP: i32 = 62;

fn shown(outcome: &Outcome) -> impl Iterator<Item = &Line> {
    outcome.lines.iter().filter(|line| !line.name.ends_with(AGAIN))
}

/// A picture with one row for each contender.
fn picture(outcome: &Outcome, run: &Run, rows: fn(&Area<'_>, &Outcome) -> Drawn) -> Result<String, Box<dyn Error>> {
    let number = i32::try_from(shown(outcome).count())?;
    let height = TOP + number * ROW + 34;
    let mut text = String::new();
    {
        let size = (WIDTH, height.cast_unsigned());
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE)?;
        for (at, line) in (0..).zip(shown(outcome)) {
            write(&area, &line.name, (8, TOP + at * ROW + 5), 14, BLACK)?;
        }
        rows(&area, outcome)?;
        warn(&area, &[outcome], (LEFT + 190, 38))?;
        write(&area, &run.on.to_string(), (8, height - 22), 11, GRAY)?;
        area.present()?;
    }
    Ok(text)
}

/// Marks a picture if its measurements are too noisy to decide anything. For one plan the mark names the contender and its noise,
/// and for several plans it names the file sizes.
fn warn(area: &Area<'_>, outcomes: &[&Outcome], at: (i32, i32)) -> Drawn {
    let noisy: Vec<&&Outcome> = outcomes.iter().filter(|outcome| !outcome.is_quiet()).collect();
    let text = match (noisy.as_slice(), outcomes) {
        ([], _) => return Ok(()),
        ([noisy], [_]) => format!("too noisy to say: {} against itself {}", noisy.twice, noisy.noise),
        (noisy, _) => {
            let sizes = noisy.iter().map(|outcome| size(outcome.length));
            format!("too noisy to say: {}", sizes.collect::<Vec<_>>().join(", "))
        }
    };
    write(area, &text, at, 13, MARK)
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, color: RGBColor) -> Drawn {
    let style = ("sans-serif", size).into_font().color(&color);
    area.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "pixels of a picture")]
fn pixels(value: f64, whole: f64) -> i32 {
    (value / whole * f64::from(WIDTH.cast_signed() - LEFT - 150)).round() as i32
}

/// Milliseconds of CPU for 1 GiB: the sender's, followed by the receiver's.
fn cpu(area: &Area<'_>, outcome: &Outcome) -> Drawn {
    let title = format!(
        "CPU for 1 GiB to TCP over loopback, ms: {} of {}, one CPU, {}",
        outcome.sink,
        size(outcome.length),
        outcome.congestion.as_deref().unwrap_or_default()
    );
    write(area, &title, (8, 8), 16, BLACK)?;
    for (color, word, at) in [(SENDER, "sender", LEFT), (RECEIVER, "receiver", LEFT + 90)] {
        area.draw(&Rectangle::new([(at, 38), (at + 12, 50)], color.filled()))?;
        write(area, word, (at + 18, 38), 12, BLACK)?;
    }
    let whole = shown(outcome).map(|line| line.sender + line.receiver);
    let whole = whole.fold(1.0, f64::max);
    for (at, line) in (0..).zip(shown(outcome)) {
        let top = TOP + at * ROW + 2;
        let middle = LEFT + pixels(line.sender, whole);
        let end = LEFT + pixels(line.sender + line.receiver, whole);
        let bottom = top + ROW - 8;
        area.draw(&Rectangle::new([(LEFT, top), (middle, bottom)], SENDER.filled()))?;
        area.draw(&Rectangle::new([(middle, top), (end, bottom)], RECEIVER.filled()))?;
        let numbers = format!("{:.0} + {:.0}", line.sender, line.receiver);
        write(area, &numbers, (end + 6, top + 3), 12, BLACK)?;
    }
    Ok(())
}

/// How many times as fast as the base each contender is, with the intervals.
fn faster(area: &Area<'_>, outcome: &Outcome) -> Drawn {
    let title = format!(
        "times as fast as {BASE}, with intervals of 95 %: {} of {}, one CPU, {}",
        outcome.sink,
        size(outcome.length),
        outcome.congestion.as_deref().unwrap_or_default()
    );
    write(area, &title, (8, 8), 16, BLACK)?;
    let highest = shown(outcome).map(|line| line.faster.high);
    let whole = highest.fold(1.0, f64::max).ceil();
    let x = |value: f64| LEFT + pixels(value, whole);
    let rows = i32::try_from(shown(outcome).count())?;
    let bottom = TOP + rows * ROW;
    let mut step = 0.0;
    while step <= whole {
        let line = [(x(step), TOP - 4), (x(step), bottom)];
        let color = if (step - 1.0).abs() < 0.1 { GRAY } else { RGBColor(225, 225, 225) };
        area.draw(&PathElement::new(line, color))?;
        write(area, &format!("{step:.1}"), (x(step) - 8, 40), 12, GRAY)?;
        step += 0.5;
    }
    for (at, line) in (0..).zip(shown(outcome)) {
        let middle = TOP + at * ROW + ROW / 2 - 2;
        let ends = [(x(line.faster.low), middle), (x(line.faster.high), middle)];
        area.draw(&PathElement::new(ends, SENDER.stroke_width(2)))?;
        area.draw(&Circle::new((x(line.faster.median), middle), 4, MARK.filled()))?;
        let number = format!("{:.2}", line.faster.median);
        write(area, &number, (x(line.faster.high) + 8, middle - 7), 12, BLACK)?;
    }
    Ok(())
}

/// A bar for each row, as long as the median, with a line from the minimum to the maximum.
pub fn bars(title: &str, caption: &str, rows: &[(String, [f64; 3])]) -> Result<String, Box<dyn Error>> {
    let height = TOP + i32::try_from(rows.len())? * ROW + 34;
    let mut text = String::new();
    {
        let size = (WIDTH, height.cast_unsigned());
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE)?;
        write(&area, title, (8, 8), 16, BLACK)?;
        let whole = rows.iter().map(|(_, [_, _, most])| *most).fold(f64::MIN_POSITIVE, f64::max);
        for (at, (name, [least, median, most])) in (0..).zip(rows) {
            let top = TOP + at * ROW + 2;
            let x = |value: f64| LEFT + pixels(value, whole);
            let middle = top + (ROW - 8) / 2;
            write(&area, name, (8, top + 3), 14, BLACK)?;
            let bar = [(LEFT, top), (x(*median), top + ROW - 8)];
            area.draw(&Rectangle::new(bar, RECEIVER.filled()))?;
            let ends = [(x(*least), middle), (x(*most), middle)];
            area.draw(&PathElement::new(ends, SENDER.stroke_width(2)))?;
            write(&area, &format!("{median:.2}"), (x(*most) + 8, top + 3), 12, BLACK)?;
        }
        write(&area, caption, (8, height - 22), 11, GRAY)?;
        area.present()?;
    }
    Ok(text)
}

/// A line of a chart: bytes and milliseconds for 1 GiB.
type Series = (String, Vec<(f64, f64)>);

#[expect(clippy::cast_precision_loss, reason = "sizes are powers of two")]
fn bytes(bytes: usize) -> f64 {
    bytes as f64
}

fn by_size(outcomes: &[&Outcome]) -> Vec<Series> {
    let names = outcomes.first().map(|outcome| shown(outcome)).into_iter().flatten();
    names
        .map(|line| {
            let point = |outcome: &&Outcome| {
                let found = outcome.find(&line.name)?;
                Some((bytes(outcome.length), found.sender + found.receiver))
            };
            (line.name.clone(), outcomes.iter().filter_map(point).collect())
        })
        .collect()
}

fn by_pipe(outcomes: &[&Outcome]) -> Vec<Series> {
    let series = |outcome: &&Outcome| {
        let points = points(outcome, "splice, pipe ");
        (outcome.sink.clone(), points)
    };
    outcomes.iter().map(series).collect()
}

fn by_chunk(outcome: &Outcome) -> Vec<Series> {
    let series = |name: &str| (name.to_owned(), points(outcome, &format!("{name}, ")));
    ["read+write", "mmap+write", "sendfile"].map(series).to_vec()
}

/// The lines whose names consist of `prefix` and a size.
fn points(outcome: &Outcome, prefix: &str) -> Vec<(f64, f64)> {
    let point = |line: &Line| {
        let number = parse(line.name.strip_prefix(prefix)?)?;
        Some((bytes(number), line.sender + line.receiver))
    };
    shown(outcome).filter_map(point).collect()
}

/// Parses the text that [`size`] writes.
fn parse(text: &str) -> Option<usize> {
    let (number, unit) = text.split_once(' ')?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    Some(number.parse::<usize>().ok()? << shift)
}

/// A chart of milliseconds over bytes. Both axes are logarithmic.
fn chart(run: &Run, title: &str, outcomes: &[&Outcome], series: &[Series]) -> Result<String, Box<dyn Error>> {
    let all = || series.iter().flat_map(|(_, points)| points.iter().copied());
    let ends = |of: fn((f64, f64)) -> f64| {
        let values = all().map(of);
        values.fold((f64::MAX, 1.0_f64), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (x, y) = (ends(|(x, _)| x), ends(|(_, y)| y));
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, 430)).into_drawing_area();
        area.fill(&WHITE)?;
        let (upper, lower) = area.split_vertically(405);
        let mut chart = ChartBuilder::on(&upper)
            .caption(title, ("sans-serif", 17))
            .margin(12)
            .x_label_area_size(32)
            .y_label_area_size(56)
            .build_cartesian_2d(
                (x.0 * 0.8..x.1 * 1.25).log_scale().base(2.0),
                (y.0 * 0.8..y.1 * 1.25).log_scale().base(2.0),
            )?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes of files")]
        let label = |value: &f64| size(value.round() as usize);
        chart
            .configure_mesh()
            .x_label_formatter(&label)
            .y_label_formatter(&|value| format!("{value:.0}"))
            .y_desc("ms for 1 GiB")
            .light_line_style(TRANSPARENT)
            .draw()?;
        for ((name, points), color) in series.iter().zip(COLORS) {
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
                // The library guesses the width of the text. Without these spaces the box cuts the text off.
                .label(format!("{name}   "))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
            let dots = points.iter().map(|point| Circle::new(*point, 3, color.filled()));
            chart.draw_series(dots)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(GRAY)
            .draw()?;
        warn(&area, outcomes, (90, 40))?;
        write(&lower, &run.on.to_string(), (8, 6), 11, GRAY)?;
        area.present()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for bytes in [4 << 10, 64 << 10, 1 << 20, 256 << 20, 1 << 30] {
            assert_eq!(parse(&size(bytes)), Some(bytes));
        }
        assert_eq!(parse("whole"), None);
    }
}
