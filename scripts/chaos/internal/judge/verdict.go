package judge

import "fmt"

// Result is what one check came to.
type Result string

// The results of a check.
const (
	Pass Result = "pass"
	Fail Result = "fail"
	// Cut: no violation was found in the part that was looked at before time was up.
	Cut Result = "cut"
	// Skip: what the check needs was not there.
	Skip Result = "skip"
)

// Verdict is one check's outcome.
type Verdict struct {
	Check      string   `json:"check"`
	Invariants string   `json:"invariants"`
	Result     Result   `json:"result"`
	Detail     string   `json:"detail"`
	Violations []string `json:"violations,omitempty"`
}

// maxViolations is how many are spelled out.
const maxViolations = 20

// NewVerdict returns a verdict that passes.
func NewVerdict(check, invariants string) *Verdict {
	return &Verdict{Check: check, Invariants: invariants, Result: Pass}
}

// Fail adds a violation.
func (v *Verdict) Fail(format string, args ...any) {
	v.Result = Fail
	if len(v.Violations) < maxViolations {
		v.Violations = append(v.Violations, fmt.Sprintf(format, args...))
	}
}

// Say sets what a person reads about the check.
func (v *Verdict) Say(format string, args ...any) *Verdict {
	v.Detail = fmt.Sprintf(format, args...)
	return v
}
