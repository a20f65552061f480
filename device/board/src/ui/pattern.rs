//! Patterns: a way over the dots 1 to 9 of a 3×3 grid, row by row.

use super::{Typed, Unfit};

/// The dots of the grid.
const DOTS: u8 = 9;

/// The way as it counts: no dot twice, and a line that crosses a dot which was not visited yet
/// visits it (Android's rule). `text` names the dots, as `"1478"`.
pub fn complete(text: &str) -> Result<Typed, Unfit> {
    let mut way = String::with_capacity(DOTS.into());
    for byte in text.bytes() {
        let dot = byte.checked_sub(b'0').filter(|dot| (1..=DOTS).contains(dot));
        let dot = dot.ok_or(Unfit::NoDot)?;
        if let Some(middle) = way.bytes().last().and_then(|from| between(from - b'0', dot))
            && !visited(&way, middle)
        {
            way.push(char::from(b'0' + middle));
        }
        if visited(&way, dot) {
            return Err(Unfit::DotTwice);
        }
        way.push(char::from(byte));
    }
    Ok(Typed::new(way))
}

fn visited(way: &str, dot: u8) -> bool {
    way.bytes().any(|byte| byte == b'0' + dot)
}

/// The dot that lies right in the middle between two.
fn between(from: u8, to: u8) -> Option<u8> {
    let place = |dot: u8| ((dot - 1) / 3, (dot - 1) % 3);
    let ((row, column), (to_row, to_column)) = (place(from), place(to));
    let even = (row + to_row) % 2 == 0 && (column + to_column) % 2 == 0;
    (even && from != to).then_some((row + to_row) / 2 * 3 + (column + to_column) / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(text: &str, way: &str) {
        assert_eq!(complete(text).as_deref(), Ok(way), "{text}");
    }

    #[test]
    fn s3_3_3_a_line_over_a_dot_visits_it() {
        is("13", "123");
        is("79", "789");
        is("19", "159");
        is("37", "357");
        is("28", "258");
        is("46", "456");
        is("1379", "1235789");
    }

    #[test]
    fn s3_3_3_a_line_over_a_visited_dot_goes_through() {
        is("213", "213");
        is("5194", "5194");
        is("4562", "4562");
        is("5289", "5289");
    }

    #[test]
    fn s3_3_3_neighbours_and_knights_moves_cross_nothing() {
        is("1234", "1234");
        is("1672", "1672");
    }

    #[test]
    fn refuses_what_is_no_way() {
        for text in ["0", "1a", "12 3", "１"] {
            assert_eq!(complete(text), Err(Unfit::NoDot), "{text}");
        }
        for text in ["11", "121", "132", "1234567891"] {
            assert_eq!(complete(text), Err(Unfit::DotTwice), "{text}");
        }
    }

    #[test]
    fn a_complete_way_is_its_own_completion() {
        let mut ways = vec![String::new()];
        for _ in 0..5 {
            let longer = ways.iter().flat_map(|way| (1..=9).map(move |dot| format!("{way}{dot}")));
            ways =
                longer.filter_map(|way| complete(&way).ok().map(|way| way.to_string())).collect();
            for way in &ways {
                is(way, way);
            }
        }
    }
}
