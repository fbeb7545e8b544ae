//! Code with each kind of mutant. The program prints every result.

fn main() {
    for left in -2..3 {
        for right in -2..3 {
            println!("{}", arithmetic(left, right));
            println!("{}", logic(left > 0, right > 0, left == right));
            println!("{:?}", matches(Some(left), right));
        }
    }
    println!("{:?} {}", fields(), text(3));
    println!("{}", assigned(doubled(7)));
}

fn arithmetic(left: i32, right: i32) -> i32 {
    if left < right && left + 1 >= right {
        return -(left * 2 - right) % 5 + (left & right);
    }
    left - right * match right { 0 => 1, _ => 2 } - 1
}

fn logic(first: bool, second: bool, third: bool) -> bool {
    called(1, first) && (called(2, second) || !third) && first != third || called(3, third)
}

/// Prints its name, so that an order of evaluation other than the original one shows.
fn called(name: u8, value: bool) -> bool {
    print!("{name}{value} ");
    value
}

fn matches(value: Option<i32>, limit: i32) -> Result<&'static str, i32> {
    if let Some(number) = value && number == limit && number > 1 {
        return Ok("equal");
    }
    match value {
        Some(0) => Ok("zero"),
        Some(number) if number > limit => Err(number),
        Some(-1) => Ok("minus one"),
        _ => Ok("other"),
    }
}

#[derive(Debug, Default)]
struct Fields {
    first: u8,
    second: bool,
}

fn fields() -> Fields {
    Fields { first: SUM as u8, second: 1 + 1 == 2, ..Default::default() }
}

const SUM: u32 = 1 + 2;

const fn doubled(value: u32) -> u32 {
    value * 2
}

fn text(count: usize) -> String {
    let longer = |text: String| text + "a";
    (0..count).fold(String::new(), |text, index| if index != 1 { longer(text) } else { text })
}

fn assigned(mut value: u32) -> u32 {
    value += 5;
    value <<= 2;
    if value >= 48 {
        value -= 48 / 4;
    }
    value | 1
}
