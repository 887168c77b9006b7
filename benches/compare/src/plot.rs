use std::fmt::Write as _;

use crate::report::Cell;
use crate::work::{Row, Subject};

/// Bars for every client, grouped by row, on a logarithmic scale of messages a second.
pub(crate) struct Plot<'a> {
    rows: &'a [(Row, Vec<Cell>)],
    /// The powers of ten at both ends of the scale.
    decades: (i32, i32),
}

impl<'a> Plot<'a> {
    pub(crate) fn new(rows: &'a [(Row, Vec<Cell>)]) -> Self {
        let rates = || {
            let cells = rows.iter().flat_map(|(_, cells)| cells);
            cells.filter_map(|cell| cell.rate)
        };
        let least = rates().fold(f64::INFINITY, f64::min).clamp(1.0, 1e6);
        let most = rates().fold(1.0, f64::max);
        Self {
            rows,
            decades: (least.log10().floor() as i32, most.log10().ceil() as i32),
        }
    }

    pub(crate) fn svg(&self) -> String {
        let bars: usize = self.rows.iter().map(|(_, cells)| cells.len()).sum();
        let bottom = TOP + bars as f64 * BAR + self.rows.len() as f64 * GAP;
        let height = bottom + 20.0;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">Messages a second, logarithmic; \
             longer is faster</text>\n"
        );
        self.legend(&mut out);
        self.grid(&mut out, bottom);
        let mut y = TOP;
        for (row, cells) in self.rows {
            y += GAP / 2.0;
            let middle = y + cells.len() as f64 * BAR / 2.0 + 4.0;
            let label = LEFT - 8.0;
            _ = writeln!(
                out,
                "<text x=\"{label}\" y=\"{middle}\" text-anchor=\"end\">{row}</text>"
            );
            for cell in cells {
                self.bar(&mut out, cell, y);
                y += BAR;
            }
            y += GAP / 2.0;
        }
        out += "</svg>\n";
        out
    }

    fn legend(&self, out: &mut String) {
        let mut x = LEFT;
        for subject in Subject::ALL {
            let present = |(_, cells): &(Row, Vec<Cell>)| {
                let mut cells = cells.iter();
                cells.any(|cell| cell.subject == subject)
            };
            if !self.rows.iter().any(present) {
                continue;
            }
            let (color, name) = (color(subject), subject.name());
            let text = x + 14.0;
            _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"28\" width=\"10\" height=\"10\" fill=\"{color}\"/>\
                 <text x=\"{text}\" y=\"37\">{name}</text>"
            );
            x = text + 6.0 * name.len() as f64 + 14.0;
        }
    }

    fn grid(&self, out: &mut String, bottom: f64) {
        for decade in self.decades.0..=self.decades.1 {
            let x = self.x(10f64.powi(decade));
            let (label, y) = (power_of_ten(decade), bottom + 14.0);
            _ = writeln!(
                out,
                "<path d=\"M{x} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"
            );
        }
    }

    fn bar(&self, out: &mut String, cell: &Cell, y: f64) {
        let (color, name) = (color(cell.subject), cell.subject.name());
        let text = y + BAR - 2.0;
        let Some(rate) = cell.rate else {
            let x = LEFT + 4.0;
            _ = writeln!(
                out,
                "<text x=\"{x}\" y=\"{text}\" font-size=\"8\">{name} fails</text>"
            );
            return;
        };
        let end = self.x(rate);
        let (width, height, label) = (end - LEFT, BAR - 1.0, end + 4.0);
        _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" \
             fill=\"{color}\"><title>{name}: {rate:.0}/s</title></rect>\
             <text x=\"{label:.1}\" y=\"{text}\" font-size=\"8\">{}</text>",
            brief(rate)
        );
    }

    fn x(&self, rate: f64) -> f64 {
        let (from, to) = (f64::from(self.decades.0), f64::from(self.decades.1));
        let share = (rate.max(1.0).log10() - from) / (to - from).max(1.0);
        LEFT + share.max(0.0) * (WIDTH - LEFT - RIGHT)
    }
}

fn color(subject: Subject) -> &'static str {
    match subject {
        Subject::Limit => "#bbb",
        Subject::Snowshoe => "#0b6bcb",
        Subject::SnowshoeShared => "#5fb0f5",
        Subject::SnowshoeLocal => "#a9d4fa",
        Subject::AmqpClient => "#2e8b57",
        Subject::Lapin => "#d2691e",
        Subject::Amqprs => "#8b5fbf",
        Subject::Amiquip => "#c0a000",
        Subject::RabbitmqC => "#b03a48",
    }
}

fn power_of_ten(exponent: i32) -> String {
    brief(10f64.powi(exponent))
}

fn brief(rate: f64) -> String {
    match rate {
        1e6.. => format!("{:.3} M", rate / 1e6).replace(".000", ""),
        1e3.. => format!("{:.0} k", rate / 1e3),
        _ => format!("{rate:.0}"),
    }
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 300.0;
/// Room for the number after the longest bar.
const RIGHT: f64 = 60.0;
const TOP: f64 = 48.0;
const BAR: f64 = 11.0;
const GAP: f64 = 12.0;
