//! One call: which function with which arguments, and its exact result.

use std::fmt;

use clap::ValueEnum;
use num_bigint::BigUint;
use serde_json::{Value, json};

/// The largest argument of fibonacci and factorial.
const MOST: u32 = 400;
/// The largest arguments of ackermann: it grows faster than anything a machine can do.
const MOST_M: u32 = 3;
const MOST_N: u32 = 4;

/// A function that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Function {
    /// The nth number of Fibonacci
    Fibonacci,
    /// The function of Ackermann and Péter
    Ackermann,
    /// The product of 1 to n
    Factorial,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fibonacci, Self::Ackermann, Self::Factorial];

    /// Its name, as the path has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fibonacci => "fibonacci",
            Self::Ackermann => "ackermann",
            Self::Factorial => "factorial",
        }
    }

    /// Its arguments and the largest value of each.
    fn parameters(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::Fibonacci | Self::Factorial => &[("n", MOST)],
            Self::Ackermann => &[("m", MOST_M), ("n", MOST_N)],
        }
    }

    fn path(self) -> String {
        let arguments: String = self.parameters().iter().map(|(name, _)| format!("{{{name}}}/")).collect();
        format!("/{}/{arguments}", self.name())
    }
}

/// Why a path is no call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No function that is served here has this name.
    Unknown(String),
    /// It has, but cannot be called like this.
    Bad { function: Function, detail: String },
}

/// A function and arguments that are in its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Fibonacci(u32),
    Ackermann(u32, u32),
    Factorial(u32),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.function().name();
        match self {
            Self::Fibonacci(n) | Self::Factorial(n) => write!(f, "{name}({n})"),
            Self::Ackermann(m, n) => write!(f, "{name}({m}, {n})"),
        }
    }
}

impl Call {
    /// Reads `/fibonacci/10/`. Of a bad path the first reason is given.
    pub(super) fn parse(path: &str, query: &str, only: Option<Function>) -> Result<Self, Refusal> {
        let served = |function: &Function| only.is_none_or(|only| only == *function);
        // Without its slash at the start it is no path: then its first part is no name either.
        let mut parts = path.strip_prefix('/').unwrap_or_default().split('/');
        let name = parts.next().unwrap_or_default();
        let function = Function::ALL.into_iter().filter(served).find(|function| function.name() == name);
        let Some(function) = function else {
            let paths: Vec<_> = Function::ALL.into_iter().filter(served).map(Function::path).collect();
            return Err(Refusal::Unknown(format!("there is {}, and /healthz and /metrics", paths.join(", "))));
        };
        let bad = |detail: String| Refusal::Bad { function, detail };
        let shape = function.path();
        let given: Vec<&str> = match path.strip_suffix('/') {
            Some(_) => parts.collect::<Vec<_>>().split_last().map(|(_, given)| given.to_vec()).unwrap_or_default(),
            None => return Err(bad(format!("the path ends with a slash: {shape}"))),
        };
        let parameters = function.parameters();
        if given.len() != parameters.len() {
            let words = if parameters.len() == 1 { "one argument" } else { "two arguments" };
            return Err(bad(format!("{name} takes {words}, not {}: {shape}", given.len())));
        }
        if !query.is_empty() {
            return Err(bad(format!("{name} takes no query: {shape}")));
        }
        let mut arguments = [0; 2];
        for ((text, (parameter, most)), argument) in given.iter().zip(parameters).zip(&mut arguments) {
            *argument =
                number(text, *most).map_err(|rule| bad(format!("{parameter} {rule}: {name} takes 0 to {most}")))?;
        }
        let [first, second] = arguments;
        Ok(match function {
            Function::Fibonacci => Self::Fibonacci(first),
            Function::Factorial => Self::Factorial(first),
            Function::Ackermann => Self::Ackermann(first, second),
        })
    }

    pub(super) fn function(self) -> Function {
        match self {
            Self::Fibonacci(_) => Function::Fibonacci,
            Self::Ackermann(..) => Function::Ackermann,
            Self::Factorial(_) => Function::Factorial,
        }
    }

    pub(super) fn arguments(self) -> Value {
        match self {
            Self::Fibonacci(n) | Self::Factorial(n) => json!({ "n": n }),
            Self::Ackermann(m, n) => json!({ "m": m, "n": n }),
        }
    }

    /// The exact result.
    pub(super) fn evaluate(self) -> BigUint {
        match self {
            Self::Fibonacci(n) => {
                let (mut this, mut next) = (BigUint::ZERO, BigUint::from(1_u8));
                for _ in 0..n {
                    let sum = &this + &next;
                    this = std::mem::replace(&mut next, sum);
                }
                this
            }
            Self::Ackermann(m, n) => ackermann(m, n).into(),
            Self::Factorial(n) => (1..=n).map(BigUint::from).product(),
        }
    }
}

/// By the definition, so that there is something to time: over ten thousand calls for (3, 4).
fn ackermann(m: u32, n: u32) -> u32 {
    match (m, n) {
        (0, n) => n + 1,
        (m, 0) => ackermann(m - 1, 1),
        (m, n) => ackermann(m - 1, ackermann(m, n - 1)),
    }
}

/// A whole number from 0 to `most`, or what is wrong with it.
fn number(text: &str, most: u32) -> Result<u32, &'static str> {
    let is_whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_prefix('-') {
        _ if text.is_empty() => Err("is missing"),
        Some(rest) if is_whole(rest) => Err("is negative"),
        None if is_whole(text) => match text.parse() {
            Ok(number) if number <= most => Ok(number),
            // Or too large even to be read.
            _ => Err("is too large"),
        },
        _ => Err("is not a whole number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(path: &str) -> String {
        Call::parse(path, "", None).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}")).evaluate().to_string()
    }

    /// Not from this program: Python's `math.factorial(400)`.
    const FACTORIAL_400: &str = "\
         6403452284662389526234797031950300585070258302600295945868444594280239716918683143627847864746326467\
         6294350575035856810848298162883517435228961988646802997937341654150838162426461942352307046244325015\
         1144486708906627739149181173319559964407095496713452904770203224349112107975932807951015453726672516\
         2787789000934976376571032635033153396534986838683133935202437378815778679150631185870261827016981974\
         0062983025308591298346162272304558339520759611505302236086810433297255194852674432232438669948422404\
         2325998055516106359423769613992319171340638589965379701478272066063202173794720103213566246138090779\
         4230459736069956759583609615871512991382228657857954936161765448045322200782581840084843641559122945\
         4275384803558374518022675900061399560145595206127211192918105032491008000000000000000000000000000000\
         000000000000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn results_are_exact() {
        for (path, digits) in [
            ("/fibonacci/0/", "0"),
            ("/fibonacci/1/", "1"),
            ("/fibonacci/2/", "1"),
            ("/fibonacci/10/", "55"),
            // The last that fits into 64 bits, the first that does not, and the same for 128.
            ("/fibonacci/93/", "12200160415121876738"),
            ("/fibonacci/94/", "19740274219868223167"),
            ("/fibonacci/186/", "332825110087067562321196029789634457848"),
            ("/fibonacci/187/", "538522340430300790495419781092981030533"),
            ("/fibonacci/399/", "108788617463475645289761992289049744844995705477812699099751202749393926359816304226"),
            ("/fibonacci/400/", "176023680645013966468226945392411250770384383304492191886725992896575345044216019675"),
            ("/factorial/0/", "1"),
            ("/factorial/1/", "1"),
            ("/factorial/20/", "2432902008176640000"),
            ("/factorial/21/", "51090942171709440000"),
            ("/factorial/34/", "295232799039604140847618609643520000000"),
            ("/factorial/35/", "10333147966386144929666651337523200000000"),
            ("/factorial/400/", FACTORIAL_400),
        ] {
            assert_eq!(result(path), digits, "{path}");
        }
        assert_eq!(FACTORIAL_400.len(), 869);
    }

    #[test]
    fn ackermann_is_what_its_closed_forms_say() {
        for n in 0..=4_u32 {
            for (m, expected) in [n + 1, n + 2, 2 * n + 3, 2_u32.pow(n + 3) - 3].into_iter().enumerate() {
                assert_eq!(result(&format!("/ackermann/{m}/{n}/")), expected.to_string(), "ackermann({m}, {n})");
            }
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        let huge = format!("/factorial/1{}/", "0".repeat(30));
        for (path, reason) in [
            ("/fibonacci/401/", "n is too large: fibonacci takes 0 to 400"),
            ("/fibonacci/-1/", "n is negative: fibonacci takes 0 to 400"),
            ("/fibonacci/1.5/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci/abc/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci/+1/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci/1e2/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci/0x1/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci/ 1/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci/\u{664}/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci/-0/", "n is negative: fibonacci takes 0 to 400"),
            ("/fibonacci/%31/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci/--1/", "n is not a whole number: fibonacci takes 0 to 400"),
            ("/fibonacci//", "n is missing: fibonacci takes 0 to 400"),
            ("/fibonacci/", "fibonacci takes one argument, not 0: /fibonacci/{n}/"),
            ("/fibonacci", "the path ends with a slash: /fibonacci/{n}/"),
            ("/fibonacci/1", "the path ends with a slash: /fibonacci/{n}/"),
            ("/fibonacci/1/2/", "fibonacci takes one argument, not 2: /fibonacci/{n}/"),
            ("/fibonacci/1//", "fibonacci takes one argument, not 2: /fibonacci/{n}/"),
            ("/factorial/-1/", "n is negative: factorial takes 0 to 400"),
            ("/factorial/1.5/", "n is not a whole number: factorial takes 0 to 400"),
            ("/factorial/abc/", "n is not a whole number: factorial takes 0 to 400"),
            ("/factorial/400", "the path ends with a slash: /factorial/{n}/"),
            ("/factorial/401/", "n is too large: factorial takes 0 to 400"),
            (huge.as_str(), "n is too large: factorial takes 0 to 400"),
            ("/ackermann/4/0/", "m is too large: ackermann takes 0 to 3"),
            ("/ackermann/3/5/", "n is too large: ackermann takes 0 to 4"),
            ("/ackermann/4/5/", "m is too large: ackermann takes 0 to 3"),
            ("/ackermann/0/-1/", "n is negative: ackermann takes 0 to 4"),
            ("/ackermann/1.5/0/", "m is not a whole number: ackermann takes 0 to 3"),
            ("/ackermann/0/abc/", "n is not a whole number: ackermann takes 0 to 4"),
            ("/ackermann//4/", "m is missing: ackermann takes 0 to 3"),
            ("/ackermann/3/4", "the path ends with a slash: /ackermann/{m}/{n}/"),
            ("/ackermann/-1/0/", "m is negative: ackermann takes 0 to 3"),
            ("/ackermann/3/", "ackermann takes two arguments, not 1: /ackermann/{m}/{n}/"),
            ("/ackermann/1/2/3/", "ackermann takes two arguments, not 3: /ackermann/{m}/{n}/"),
        ] {
            match Call::parse(path, "", None) {
                Err(Refusal::Bad { detail, .. }) => assert_eq!(detail, reason, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
        assert!(matches!(Call::parse("/factorial/1/", "n=2", None), Err(Refusal::Bad { .. })));
        for path in ["/", "", "/fib/1/", "//", "/Fibonacci/1/", "//fibonacci/1/", "fibonacci/1/"] {
            assert!(matches!(Call::parse(path, "", None), Err(Refusal::Unknown(_))), "{path}");
        }
    }

    #[test]
    fn one_alone_does_not_know_the_others() {
        let only = Some(Function::Factorial);
        assert_eq!(Call::parse("/factorial/3/", "", only), Ok(Call::Factorial(3)));
        let Err(Refusal::Unknown(detail)) = Call::parse("/fibonacci/3/", "", only) else { panic!("it was served") };
        assert_eq!(detail, "there is /factorial/{n}/, and /healthz and /metrics");
    }
}
