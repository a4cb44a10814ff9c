//! Owns the text of a metrics page: families, samples, labels and numbers in Prometheus' form.
//! Knows no name. Invariant: a family is announced once, before its samples.

use std::fmt::{Display, Write};

use node::figures::{Histogram, SECOND_NS};

/// A page under construction.
#[derive(Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// The finished text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Announces a family whose samples follow.
    pub fn family(&mut self, name: &str, kind: &str) {
        self.put(format_args!("# TYPE {name} {kind}\n"));
    }

    /// One sample of the family announced last.
    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        match labels {
            "" => self.put(format_args!("{name} {value}\n")),
            labels => self.put(format_args!("{name}{{{labels}}} {value}\n")),
        }
    }

    /// A gauge of one sample.
    pub fn gauge(&mut self, name: &str, value: impl Display) {
        self.family(name, "gauge");
        self.sample(name, "", value);
    }

    /// A gauge that says something by its labels.
    pub fn fact(&mut self, name: &str, labels: &str) {
        self.family(name, "gauge");
        self.sample(name, labels, 1);
    }

    /// A counter of one sample.
    pub fn counter(&mut self, name: &str, value: impl Display) {
        self.family(name, "counter");
        self.sample(name, "", value);
    }

    /// A histogram without labels.
    pub fn histogram(&mut self, name: &str, unit: u64, histogram: &Histogram) {
        self.family(name, "histogram");
        self.buckets(name, "", unit, histogram);
    }

    /// The samples of one histogram; `unit` is what one second, or one of anything, is in it.
    pub fn buckets(&mut self, name: &str, labels: &str, unit: u64, histogram: &Histogram) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in histogram.cumulative() {
            let le = number(bound as f64 / unit as f64);
            self.put(format_args!("{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}\n"));
        }
        let count = histogram.count();
        self.put(format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}\n"));
        let sum = number(histogram.sum() as f64 / unit as f64);
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a string takes everything");
    }
}

/// Bounds of nanoseconds as seconds.
pub const TIME: u64 = SECOND_NS;
/// Bounds as they are.
pub const PLAIN: u64 = 1;

/// A number as etcd's own library prints it: large and small ones with an exponent of two digits.
pub fn number(value: f64) -> String {
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let (digits, power) = text.split_once('e').expect("asked for");
    let power: i32 = power.parse().expect("its own exponent");
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::figures::TTL_S;

    #[test]
    fn numbers_look_as_dashboards_know_them() {
        assert_eq!(number(0.001), "0.001");
        assert_eq!(number(0.000_001), "1e-06");
        assert_eq!(number(1_048_576.0), "1.048576e+06");
        assert_eq!(number(524_288.0), "524288");
        assert_eq!(number(0.0), "0");
    }

    #[test]
    fn classes_of_a_histogram_are_cumulative() {
        let mut histogram = Histogram::new(&TTL_S);
        histogram.observe(60);
        let mut page = Page::default();
        page.histogram("ttl", PLAIN, &histogram);
        let text = page.into_text();
        assert!(text.starts_with("# TYPE ttl histogram\nttl_bucket{le=\"1\"} 0\n"), "{text}");
        assert!(text.contains("ttl_bucket{le=\"64\"} 1\nttl_bucket{le=\"128\"} 1\n"), "{text}");
        assert!(text.contains("ttl_bucket{le=\"8.388608e+06\"} 1\n"), "{text}");
        assert!(text.ends_with("le=\"+Inf\"} 1\nttl_sum 60\nttl_count 1\n"), "{text}");
    }
}
