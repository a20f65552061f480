//! The map: land, graticule and a position, drawn as SVG from Natural Earth's outlines.
//!
//! Equirectangular projection, true at the position's latitude. Colours and widths are
//! presentation attributes: no style sheet is needed, so none is allowed.

use std::fmt::Write as _;
use std::sync::OnceLock;
use wire::find::Position;

/// Pixels of the drawing.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Room that a label needs.
const LABEL: f64 = 44.0;
/// Metres in a degree of latitude.
const METRES_PER_DEGREE: f64 = 111_320.0;

/// How much of the earth a map shows.
pub(super) struct View {
    /// Degrees of latitude from bottom to top.
    degrees: f64,
    /// Degrees between two lines of the graticule.
    step: f64,
}

impl View {
    /// From the whole earth to a region.
    const LEVELS: [Self; 5] = [
        Self { degrees: 120.0, step: 30.0 },
        Self { degrees: 50.0, step: 10.0 },
        Self { degrees: 20.0, step: 5.0 },
        Self { degrees: 8.0, step: 2.0 },
        Self { degrees: 3.0, step: 1.0 },
    ];
    /// The level that a page begins with.
    pub(super) const USUAL: usize = 2;
    /// The highest level.
    pub(super) const CLOSEST: usize = Self::LEVELS.len() - 1;
}

/// A point in hundredths of a degree: longitude, latitude.
type Point = (i32, i32);

/// A ring of land or of a lake, and the rectangle around it.
struct Ring {
    points: Vec<Point>,
    low: Point,
    high: Point,
}

/// The rings of `land.bin`, whose format is in the folder's README.
fn land() -> &'static [Ring] {
    static LAND: OnceLock<Vec<Ring>> = OnceLock::new();
    LAND.get_or_init(|| {
        decode(include_bytes!("../../assets/land.bin")).expect("the embedded map is well-formed")
    })
}

fn decode(bytes: &[u8]) -> Option<Vec<Ring>> {
    let mut rest = bytes.strip_prefix(b"HFLM\x01")?;
    let count = number(&mut rest)?;
    let mut rings = Vec::new();
    for _ in 0..count {
        let points = points(&mut rest)?;
        let over = |pick: fn(&Point) -> i32| points.iter().map(pick);
        let low = (over(|p| p.0).min()?, over(|p| p.1).min()?);
        let high = (over(|p| p.0).max()?, over(|p| p.1).max()?);
        rings.push(Ring { points, low, high });
    }
    rest.is_empty().then_some(rings)
}

fn points(rest: &mut &[u8]) -> Option<Vec<Point>> {
    let (mut at, mut points) = ((0_i32, 0_i32), Vec::new());
    for _ in 0..number(rest)? {
        at = (at.0.checked_add(signed(rest)?)?, at.1.checked_add(signed(rest)?)?);
        points.push(at);
    }
    Some(points)
}

/// LEB128.
fn number(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        value |= u32::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// LEB128 of the zigzag form.
fn signed(rest: &mut &[u8]) -> Option<i32> {
    let value = number(rest)?;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

/// A map around a position.
struct Canvas {
    lat: f64,
    lon: f64,
    /// Pixels in a degree of latitude, and of longitude.
    scale: (f64, f64),
    out: String,
}

/// The map around `position`, at a zoom level of at most [`View::CLOSEST`].
pub(super) fn draw(position: &Position, level: usize) -> String {
    let view = &View::LEVELS[level.min(View::CLOSEST)];
    let vertical = HEIGHT / view.degrees;
    // Near the poles the projection would tear the map apart.
    let horizontal = vertical * position.lat.to_radians().cos().max(0.2);
    let scale = (vertical, horizontal);
    let mut canvas = Canvas { lat: position.lat, lon: position.lon, scale, out: String::new() };
    canvas.open();
    canvas.land();
    canvas.graticule(view.step);
    canvas.marker(position);
    canvas.out.push_str("</svg>");
    canvas.out
}

impl Canvas {
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a string takes every text");
    }

    fn open(&mut self) {
        self.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#cfe0e8\"/>"
        ));
    }

    fn place(&self, lon: f64, lat: f64) -> (f64, f64) {
        (
            WIDTH / 2.0 + (lon - self.lon) * self.scale.1,
            HEIGHT / 2.0 - (lat - self.lat) * self.scale.0,
        )
    }

    /// The earth goes on behind its edge: each ring may show at home and once around.
    fn land(&mut self) {
        self.out.push_str(
            "<path fill=\"#f3efe3\" stroke=\"#93a9a0\" stroke-width=\"1\" fill-rule=\"evenodd\" d=\"",
        );
        for ring in land() {
            for turn in [-360.0, 0.0, 360.0] {
                self.ring(ring, turn);
            }
        }
        self.out.push_str("\"/>");
    }

    fn ring(&mut self, ring: &Ring, turn: f64) {
        let degrees = |hundredths: i32| f64::from(hundredths) / 100.0;
        let corner =
            |canvas: &Self, point: Point| canvas.place(degrees(point.0) + turn, degrees(point.1));
        let (left, bottom) = corner(self, ring.low);
        let (right, top) = corner(self, ring.high);
        if right < 0.0 || left > WIDTH || bottom < 0.0 || top > HEIGHT {
            return;
        }
        let placed = ring.points.iter().map(|point| corner(self, *point)).collect();
        for (index, (x, y)) in thinned(clipped(placed)).into_iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            self.put(format_args!("{letter}{x:.1} {y:.1}"));
        }
        self.out.push('Z');
    }

    fn graticule(&mut self, step: f64) {
        let half = (WIDTH / 2.0 / self.scale.1, HEIGHT / 2.0 / self.scale.0);
        self.out.push_str("<g stroke=\"#4c6a73\" stroke-opacity=\".28\" fill=\"none\">");
        let meridians = lines(self.lon - half.0, self.lon + half.0, step);
        let parallels: Vec<f64> = lines(self.lat - half.1, self.lat + half.1, step)
            .into_iter()
            .filter(|lat| lat.abs() <= 90.0)
            .collect();
        for lon in &meridians {
            let (x, _) = self.place(*lon, 0.0);
            self.put(format_args!("<path d=\"M{x:.1} 0V{HEIGHT}\"/>"));
        }
        for lat in &parallels {
            let (_, y) = self.place(0.0, *lat);
            self.put(format_args!("<path d=\"M0 {y:.1}H{WIDTH}\"/>"));
        }
        self.out.push_str("</g><g fill=\"#37525b\">");
        for lon in meridians {
            let (x, _) = self.place(lon, 0.0);
            if x > WIDTH - LABEL {
                continue;
            }
            let label = degrees_label((lon + 540.0).rem_euclid(360.0) - 180.0, ["E", "W"]);
            self.put(format_args!(
                "<text x=\"{:.1}\" y=\"{}\">{label}</text>",
                x + 4.0,
                HEIGHT - 6.0
            ));
        }
        for lat in parallels {
            let (_, y) = self.place(0.0, lat);
            let label = degrees_label(lat, ["N", "S"]);
            self.put(format_args!("<text x=\"5\" y=\"{:.1}\">{label}</text>", y - 4.0));
        }
        self.out.push_str("</g>");
    }

    fn marker(&mut self, position: &Position) {
        let radius = position.accuracy_m / METRES_PER_DEGREE * self.scale.0;
        let (x, y) = (WIDTH / 2.0, HEIGHT / 2.0);
        let circle = radius.clamp(16.0, WIDTH);
        self.put(format_args!(
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{circle:.1}\" fill=\"#0f766e\" fill-opacity=\".18\" \
             stroke=\"#0f766e\" stroke-opacity=\".6\"/>\
             <circle cx=\"{x}\" cy=\"{y}\" r=\"6.5\" fill=\"#b42318\" stroke=\"#fff\" \
             stroke-width=\"2.5\"/>"
        ));
    }
}

fn degrees_label(degrees: f64, sides: [&str; 2]) -> String {
    let side = if degrees == 0.0 { "" } else { sides[usize::from(degrees < 0.0)] };
    format!("{:.0}°{side}", degrees.abs())
}

fn lines(from: f64, to: f64, step: f64) -> Vec<f64> {
    let first = (from / step).ceil() as i32;
    let last = (to / step).floor() as i32;
    (first..=last).map(|index| f64::from(index) * step).collect()
}

/// Leaves out points that fall on the pixel before them.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::with_capacity(points.len());
    for (x, y) in points {
        let near = |last: &(f64, f64)| (last.0 - x).abs() < 0.7 && (last.1 - y).abs() < 0.7;
        if !out.last().is_some_and(near) {
            out.push((x, y));
        }
    }
    out
}

/// The part of a polygon inside the drawing and a margin (Sutherland and Hodgman).
fn clipped(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    const MARGIN: f64 = 4.0;
    type Axis = fn((f64, f64)) -> f64;
    let edges: [(Axis, f64, f64); 4] = [
        (|p| p.0, 1.0, -MARGIN),
        (|p| p.0, -1.0, WIDTH + MARGIN),
        (|p| p.1, 1.0, -MARGIN),
        (|p| p.1, -1.0, HEIGHT + MARGIN),
    ];
    for (axis, direction, limit) in edges {
        let depth = |point| (axis(point) - limit) * direction;
        let mut kept = Vec::with_capacity(points.len());
        let Some(mut before) = points.last().copied() else { return kept };
        for point in points {
            let (was, is) = (depth(before), depth(point));
            if (was < 0.0) != (is < 0.0) {
                let t = was / (was - is);
                kept.push((
                    before.0 + (point.0 - before.0) * t,
                    before.1 + (point.1 - before.1) * t,
                ));
            }
            if is >= 0.0 {
                kept.push(point);
            }
            before = point;
        }
        points = kept;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> Position {
        Position { lat, lon, accuracy_m: 25.0, at_ms: 0 }
    }

    /// Whether a place is land: an odd number of coast crossings to its east.
    fn is_land(lat: f64, lon: f64) -> bool {
        let (x, y) = (lon * 100.0, lat * 100.0);
        let crossings = land().iter().flat_map(|ring| {
            let points = &ring.points;
            (0..points.len()).map(move |at| (points[at], points[(at + 1) % points.len()]))
        });
        let crosses = |&(a, b): &(Point, Point)| {
            let ((ax, ay), (bx, by)) =
                ((f64::from(a.0), f64::from(a.1)), (f64::from(b.0), f64::from(b.1)));
            (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax)
        };
        crossings.filter(crosses).count() % 2 == 1
    }

    #[test]
    fn the_land_is_where_it_is() {
        for (lat, lon) in [(53.5, 10.0), (35.7, 139.5), (-33.9, 18.8), (40.0, -100.0)] {
            assert!(is_land(lat, lon), "{lat} {lon}");
        }
        for (lat, lon) in [(0.0, 0.0), (56.0, 3.0), (-40.0, -120.0), (42.0, 51.0)] {
            assert!(!is_land(lat, lon), "{lat} {lon}");
        }
    }

    #[test]
    fn every_place_and_level_draws_a_small_map_with_a_marker() {
        for (lat, lon) in
            [(53.55, 9.99), (90.0, 0.0), (-90.0, 180.0), (-17.8, 179.9), (66.0, -179.9)]
        {
            for level in 0..=View::CLOSEST {
                let svg = draw(&at(lat, lon), level);
                assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
                assert!(svg.contains("#b42318") && !svg.contains("NaN"));
                assert!(svg.len() < 400_000, "{lat} {lon} {level}: {} bytes", svg.len());
            }
        }
    }

    #[test]
    fn no_coast_jumps_across_the_map_at_the_date_line() {
        for ring in land() {
            let around = ring.points.iter().chain(ring.points.first()).collect::<Vec<_>>();
            for pair in around.windows(2) {
                let polar = pair[0].1 == -9000 && pair[1].1 == -9000;
                assert!(polar || (pair[0].0 - pair[1].0).abs() < 18_000, "{pair:?}");
            }
        }
    }

    #[test]
    fn a_cut_off_map_is_no_map() {
        let bytes = include_bytes!("../../assets/land.bin");
        assert!(decode(bytes).is_some());
        for cut in [0, 4, 5, 100, bytes.len() - 1] {
            assert!(decode(&bytes[..cut]).is_none(), "{cut}");
        }
        assert!(decode(&[bytes, &b"x"[..]].concat()).is_none());
    }
}
