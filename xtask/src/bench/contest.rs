//! A contest: contestants take turns, round after round.

use anyhow::Result;
use std::fmt::Write as _;

const ROUNDS: usize = 3;

/// The name of our own contestant.
pub(crate) const OURS: &str = "Holdfast";

/// What one turn measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// In the contest's unit.
    pub(crate) value: f64,
    /// Seconds of CPU, user and system, of every process that took part; where known.
    pub(crate) cpu_s: Option<f64>,
}

/// One who takes turns.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) turn: Box<dyn FnMut() -> Result<Turn>>,
}

/// Contestants, and what is counted.
pub(crate) struct Contest {
    pub(crate) name: String,
    /// `MiB/s`, `ms`.
    pub(crate) unit: &'static str,
    /// Whether more is better.
    pub(crate) more_is_better: bool,
    /// The first is ours.
    pub(crate) contestants: Vec<Contestant>,
}

/// Runs all rounds: in each, every contestant of every contest once. Gives a Markdown table for
/// each contest.
pub(crate) fn hold(mut contests: Vec<Contest>) -> Result<Vec<String>> {
    let mut turns: Vec<Vec<Vec<Turn>>> =
        contests.iter().map(|contest| vec![Vec::new(); contest.contestants.len()]).collect();
    for round in 0..ROUNDS {
        for (contest, turns) in contests.iter_mut().zip(&mut turns) {
            for (contestant, turns) in contest.contestants.iter_mut().zip(turns) {
                let turn = (contestant.turn)()?;
                let (name, unit, value) = (&contest.name, contest.unit, turn.value);
                eprintln!("round {round}, {name}: {} {value:.1} {unit}", contestant.name);
                turns.push(turn);
            }
        }
    }
    contests.iter().zip(&turns).map(|(contest, turns)| contest.table(turns)).collect()
}

impl Contest {
    fn table(&self, turns: &[Vec<Turn>]) -> Result<String> {
        let values = |turns: &[Turn]| turns.iter().map(|turn| turn.value).collect::<Vec<_>>();
        let ours = median(values(&turns[0]));
        let mut table = format!("### {}\n\n", self.name);
        writeln!(table, "| | {} (median of {}) | spread | CPU s | ours is |", self.unit, ROUNDS)?;
        writeln!(table, "|---|---|---|---|---|")?;
        for (contestant, turns) in self.contestants.iter().zip(turns) {
            let all = values(turns);
            let middle = median(all.clone());
            let low = all.iter().copied().fold(f64::INFINITY, f64::min);
            let high = all.iter().copied().fold(0.0, f64::max);
            let cpu: Vec<f64> = turns.iter().filter_map(|turn| turn.cpu_s).collect();
            let cpu = if cpu.is_empty() { "–".to_owned() } else { format!("{:.2}", median(cpu)) };
            let ratio = if self.more_is_better { ours / middle } else { middle / ours };
            let ratio = match contestant.name.as_str() {
                OURS => "–".to_owned(),
                _ if self.unit == "KiB" => format!("{:.3}× the size", 1.0 / ratio),
                _ if self.unit == "MiB" => format!("{:.2}× the memory", 1.0 / ratio),
                _ => format!("{ratio:.2}× as fast"),
            };
            writeln!(
                table,
                "| {} | {middle:.1} | {low:.1}–{high:.1} | {cpu} | {ratio} |",
                contestant.name
            )?;
        }
        Ok(table)
    }
}

/// The middle value; of an even number the mean of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(super::median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
