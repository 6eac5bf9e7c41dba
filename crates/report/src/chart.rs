//! A chart of lines as SVG in a page.
//!
//! Plotters writes colours into attributes; those of [`COLOURS`] and black are turned by the page's
//! style sheet into what is seen on a light or a dark ground.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;

/// Colours that people of any sight tell apart: Okabe & Ito, "Color universal design", 2008.
pub const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// The width of a chart that has a line of the page for itself, and of one that shares it.
pub const WIDE: u32 = 800;
/// Width of a character of a level's name, about.
const CHARACTER: u32 = 7;
/// See [`WIDE`].
pub const NARROW: u32 = 420;
const HEIGHT: u32 = 320;

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Thin and pale.
    Pale,
    /// As it is.
    Plain,
    /// With a mark at each point.
    Marked,
    /// Marks alone.
    Scattered,
}

/// A line through points.
#[derive(Clone, Debug)]
pub struct Line {
    /// Number of its colour; where [`COLOURS`] begins again the line is dashed.
    pub colour: usize,
    /// How it is drawn.
    pub style: Style,
    /// The points.
    pub points: Vec<(f64, f64)>,
}

/// A chart to be drawn.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// In the units of its labels.
    pub width: u32,
    /// What a screen reader says of it.
    pub label: String,
    /// What stands at the axes.
    pub axes: [String; 2],
    /// Whether the vertical axis is logarithmic.
    pub is_log: bool,
    /// What is drawn.
    pub lines: Vec<Line>,
    /// Levels across the chart, with what they are called.
    pub levels: &'a [(String, f64)],
}

impl Chart<'_> {
    /// The chart as an SVG element, or a word if there is nothing to draw.
    pub fn draw(&self) -> Markup {
        let drawn = |y: &f64| !self.is_log || 0.0 < *y;
        let mut lines = self.lines.clone();
        for line in &mut lines {
            line.points.retain(|(_, y)| drawn(y));
        }
        let points = || lines.iter().flat_map(|line| &line.points);
        let Some(x) = bounds(points().map(|(x, _)| *x)) else {
            return html! { p { "There is nothing to draw yet." } };
        };
        let levels: Vec<_> = self.levels.iter().filter(|(_, y)| drawn(y)).cloned().collect();
        let y = points().map(|(_, y)| *y).chain(levels.iter().map(|(_, y)| *y));
        let y = bounds(y).expect("there are points");
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (self.width, HEIGHT)).into_drawing_area();
            let result = if self.is_log {
                let margin = (y.1 / y.0).powf(0.05).max(1.01);
                let y = y.0 / margin..y.1 * margin;
                self.draw_on(&area, x.0..x.1, y.log_scale(), &lines, &levels)
            } else {
                let margin = 0.05 * (y.1 - y.0);
                self.draw_on(&area, x.0..x.1, y.0 - margin..y.1 + margin, &lines, &levels)
            };
            result.expect("a string takes any drawing");
        }
        let body = svg.find('>').map_or("", |end| &svg[end + 1..]);
        html! {
            svg viewBox=(format!("0 0 {} {HEIGHT}", self.width)) role="img" aria-label=(self.label) {
                (PreEscaped(body.trim_end().trim_end_matches("</svg>")))
            }
        }
    }

    fn draw_on<'b, Y>(
        &self,
        area: &DrawingArea<SVGBackend<'b>, Shift>,
        x: Range<f64>,
        y: Y,
        lines: &[Line],
        levels: &[(String, f64)],
    ) -> Result<(), DrawingAreaErrorKind<std::io::Error>>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let names = levels.iter().map(|level| level_name(level).chars().count());
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(16 + names.max().map_or(0, |chars| chars.min(48) as u32 * CHARACTER))
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(x.clone(), y)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc(&*self.axes[0])
            .y_desc(&*self.axes[1])
            .x_labels(self.width as usize / 100)
            .y_labels(6)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 13))
            .draw()?;
        for (_, level) in levels {
            let ends = [(x.start, *level), (x.end, *level)];
            chart.draw_series(DashedLineSeries::new(ends, 4, 4, BLACK.mix(0.6).into()))?;
        }
        for line in lines {
            let colour = COLOURS[line.colour % COLOURS.len()];
            let points = line.points.iter().copied();
            let (colour, width) = match line.style {
                Style::Pale => (colour.mix(0.35), 1),
                _ => (colour.mix(1.0), 2),
            };
            if line.style != Style::Scattered {
                let style = colour.stroke_width(width);
                if line.colour < COLOURS.len() {
                    chart.draw_series(LineSeries::new(points.clone(), style))?;
                } else {
                    chart.draw_series(DashedLineSeries::new(points.clone(), 8, 5, style))?;
                }
            }
            if matches!(line.style, Style::Marked | Style::Scattered) {
                chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
            }
        }
        // From the top, each name below the one before.
        let mut names: Vec<_> = levels
            .iter()
            .map(|level| (chart.backend_coord(&(x.end, level.1)), level_name(level)))
            .collect();
        names.sort_by(|((_, y), name), ((_, other_y), other)| (y, name).cmp(&(other_y, other)));
        let mut least = 0;
        for ((x, y), name) in names {
            let y = y.max(least);
            least = y + 13;
            area.draw(&Text::new(name, (x + 4, y - 6), ("sans-serif", 12)))?;
        }
        area.present()
    }
}

/// What stands beside a level.
fn level_name((name, level): &(String, f64)) -> String {
    format!("{name} {}", short(*level))
}

/// The least and the greatest, a tenth below and above where all are the same; `None` if there is none.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })?;
    let around = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
    Some(if high - low <= 1e-9 * high.abs() { (low - around, high + around) } else { (low, high) })
}

/// A number in a few characters, as at an axis.
pub fn short(value: f64) -> String {
    let size = value.abs();
    let (value, digits, unit) = match size {
        0.0 => return "0".into(),
        _ if 1e9 <= size => (value / 1e9, 2, "G"),
        _ if 1e6 <= size => (value / 1e6, 2, "M"),
        _ if 1e4 <= size => (value / 1e3, 1, "k"),
        _ if 100.0 <= size => (value, 1, ""),
        _ if 0.01 <= size => (value, 3, ""),
        _ => return format!("{value:.1e}"),
    };
    let text = format!("{value:.digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(is_log: bool, points: &[(f64, f64)], levels: &[(String, f64)]) -> String {
        let lines = vec![Line { colour: 1, style: Style::Marked, points: points.to_vec() }];
        let label = "a \"chart\" <of> lines".into();
        Chart {
            width: WIDE,
            label,
            axes: ["steps", "nats"].map(str::to_owned),
            is_log,
            lines,
            levels,
        }
        .draw()
        .into_string()
    }

    /// Where the marks of a chart are.
    fn marks(svg: &str) -> Vec<[f64; 2]> {
        let attribute = |mark: &str, name: &str| {
            let value = mark.split(&format!(" {name}=\"")).nth(1).expect("an attribute");
            value.split('"').next().expect("its end").parse().expect("a number")
        };
        svg.split("<circle")
            .skip(1)
            .map(|mark| ["cx", "cy"].map(|name| attribute(mark, name)))
            .collect()
    }

    #[test]
    fn points_stand_where_their_scale_puts_them() {
        let points = [(0.0, 1.0), (50.0, 10.0), (100.0, 100.0)];
        let [a, b, c] = marks(&chart(false, &points, &[]))[..] else { panic!("three marks") };
        assert!((b[0] - a[0] - (c[0] - b[0])).abs() <= 1.0, "evenly to the right");
        assert!((10.0 * (a[1] - b[1]) - (b[1] - c[1])).abs() <= 12.0, "1, 10, 100 upwards");
        let [a, b, c] = marks(&chart(true, &points, &[]))[..] else { panic!("three marks") };
        assert!((a[1] - b[1] - (b[1] - c[1])).abs() <= 1.0, "evenly upwards");
    }

    #[test]
    fn nothing_breaks_a_chart() {
        assert!(chart(false, &[], &[]).contains("nothing to draw"));
        assert!(chart(true, &[(0.0, 0.0), (1.0, -1.0)], &[]).contains("nothing to draw"));
        for is_log in [false, true] {
            for points in
                [&[(0.0, 1.0)][..], &[(5.0, 1e-30), (5.0, 1e-30)], &[(0.0, 1e30), (1.0, 1e-30)]]
            {
                assert_eq!(marks(&chart(is_log, points, &[])).len(), points.len());
            }
        }
    }

    #[test]
    fn levels_are_named_and_names_stand_apart() {
        let levels = [("a".into(), 2.0), ("b".into(), 2.0001), ("<c>".into(), 9.0)];
        let svg = chart(false, &[(0.0, 1.0), (1.0, 10.0)], &levels);
        for name in ["a 2", "b 2", "&lt;c&gt; 9"] {
            assert!(svg.contains(name), "{name} in {svg}");
        }
        let top = |name: &str| {
            let text = svg.split("<text").find(|text| text.contains(name)).expect("a name");
            let y = text.split(" y=\"").nth(1).and_then(|y| y.split('"').next()).expect("a place");
            y.parse::<f64>().expect("a number")
        };
        assert!(12.0 <= (top("\na 2") - top("\nb 2")).abs(), "one is written over the other");
        let long = [("a yardstick of a run with a long name".into(), 2.0)];
        let svg = chart(false, &[(0.0, 1.0), (1.0, 10.0)], &long);
        let text = svg.split("<text").find(|text| text.contains("yardstick")).expect("a name");
        let x = text.split(" x=\"").nth(1).and_then(|x| x.split('"').next()).expect("a place");
        let x: u32 = x.parse().expect("a number");
        assert!(x + 39 * 6 <= WIDE, "the name is cut at {WIDE}: it begins at {x}");
        assert!(svg.contains("aria-label=\"a &quot;chart&quot; &lt;of&gt; lines\""));
        assert!(!svg.contains("http:"));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.00012, 0.1, 2.5, 999.96, 12_000.0, 3.2e6, -1500.25].map(short);
        assert_eq!(shown, ["0", "1.2e-4", "0.1", "2.5", "1000", "12k", "3.2M", "-1500.2"]);
    }
}
