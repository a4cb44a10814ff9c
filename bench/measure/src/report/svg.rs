//! Owns charts as SVG. Knows axes and lines, no benchmark. Invariant: a chart needs nothing from
//! outside of itself, and every text in it is escaped.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
/// Colours that people who see few of them tell apart (Okabe and Ito).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"];

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Equal steps, from 0.
    Linear,
    /// Equal factors.
    Log,
    /// Percentiles, each nine as wide as the one before.
    Nines,
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// One chart.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) x_name: &'a str,
    pub(super) x_scale: Scale,
    pub(super) y_scale: Scale,
    /// How values of the y axis are written.
    pub(super) y_text: fn(f64) -> String,
    pub(super) lines: Vec<Line>,
}

/// Text that is safe inside of HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn over(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Axis {
        let high = values.clone().fold(f64::MIN, f64::max);
        let low = values.fold(f64::MAX, f64::min);
        match scale {
            Scale::Linear => Axis { scale, low: 0.0, high: if high > 0.0 { high } else { 1.0 } },
            Scale::Log => {
                let low = 10f64.powf(low.max(1e-9).log10().floor());
                let high = 10f64.powf(high.max(1e-9).log10().ceil()).max(low * 10.0);
                Axis { scale, low, high }
            }
            Scale::Nines => Axis { scale, low: 0.0, high: high.max(90.0) },
        }
    }

    /// Where a value lies, in `0.0..=1.0`.
    fn place(&self, value: f64) -> f64 {
        let nines = |percent: f64| -(1.0 - percent / 100.0).max(1e-9).log10();
        let place = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            Scale::Nines => nines(value) / nines(self.high),
        };
        place.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.high / 5.0);
                let count = (self.high / step).floor() as u64;
                (0..=count).map(|number| number as f64 * step).collect()
            }
            Scale::Log => {
                let (low, high) =
                    (self.low.log10().round() as i32, self.high.log10().round() as i32);
                (low..=high).map(|power| 10f64.powi(power)).collect()
            }
            Scale::Nines => {
                let all = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
                all.into_iter().filter(|percent| *percent <= self.high).collect()
            }
        }
    }
}

/// The next round number: 1, 2 or 5 times a power of ten.
fn step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.max(1e-9).log10().floor());
    let rounds = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    rounds.into_iter().find(|round| raw <= *round).unwrap_or(power * 10.0)
}

impl Chart<'_> {
    /// The chart; nothing if there is nothing to show.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        if points().next().is_none() {
            return String::new();
        }
        let x = Axis::over(self.x_scale, points().map(|point| point.0));
        let y = Axis::over(self.y_scale, points().map(|point| point.1));
        let x_at = |value| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let y_at = |value| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"18\">{}</text>\n",
            escape(self.title),
            escape(self.title)
        );
        for value in y.ticks() {
            let (at, end, beside) = (y_at(value), WIDTH - RIGHT, LEFT - 6.0);
            let text = escape(&(self.y_text)(value));
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{end}\"/>\
                 <text x=\"{beside}\" y=\"{at:.1}\" dy=\"4\" text-anchor=\"end\">{text}</text>"
            );
        }
        for value in x.ticks() {
            let (at, below) = (x_at(value), HEIGHT - BOTTOM + 16.0);
            let _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{value}</text>"
            );
        }
        let (middle, bottom) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0);
        let name = escape(self.x_name);
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{name}</text>"
        );
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let places =
                line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", x_at(*x), y_at(*y)));
            let places = places.collect::<Vec<_>>().join(" ");
            let name = escape(&line.name);
            let _ = writeln!(
                svg,
                "<polyline points=\"{places}\" stroke=\"{colour}\"><title>{name}</title></polyline>"
            );
        }
        svg.push_str("</svg>\n");
        svg + &self.legend()
    }

    fn legend(&self) -> String {
        let mut text = "<p class=\"legend\">".to_string();
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let name = escape(&line.name);
            let _ = write!(text, "<span><i style=\"background:{colour}\"></i>{name}</span> ");
        }
        text + "</p>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(lines: Vec<Line>) -> String {
        let y_text = |value| format!("{value}");
        let (x_scale, y_scale) = (Scale::Nines, Scale::Log);
        Chart { title: "a < b", x_name: "x", x_scale, y_scale, y_text, lines }.svg()
    }

    #[test]
    fn a_chart_places_its_points_and_escapes_its_texts() {
        let points = vec![(0.0, 1.0), (90.0, 10.0), (99.0, 100.0)];
        let svg = chart(vec![Line { name: "<one>".to_string(), points }]);
        // Two nines: 90 % lies in the middle, and so does 10 between 1 and 100.
        assert!(svg.contains("points=\"70.0,256.0 387.0,145.0 704.0,34.0\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains("&lt;one&gt;") && !svg.contains("<one>"));
    }

    #[test]
    fn nothing_to_show_is_no_chart_and_steps_are_round() {
        assert_eq!(chart(vec![]), "");
        assert_eq!([0.3, 1.0, 17.0, 900.0].map(step), [0.5, 1.0, 20.0, 1000.0]);
    }
}
