#!/usr/bin/env bash
# R survival: with conf.type = "arcsin", summary() of competing risks gives the interval of "event-free" for every cause.
#
# Guess: summary(survfit(Surv(t, cause) ~ 1, conf.type = "arcsin"), times = ...) has lower and upper in
#   the shape of pstate, a column for each state, as with "log-log", "log", "plain" and "logit".
# Seen: lower and upper are vectors with the bounds of the first state, (s0), only. Beside the
#   incidence of relapse, 30 %, they read as 30 % to 87 %, the interval of being event-free (60 %);
#   beside that of death, 10 %, they do not even hold it. No warning. (fit$lower has lost its
#   dimensions, so plot(conf.int = TRUE) and fit[, "relapse"] stop with an error.)
# Versions: survival 3.5-3 with R 4.2.2 (Debian 12; other versions may differ: the script says which ran).
# Who meets it: who takes the arcsine interval for few patients, as textbooks advise, and builds
#   a table from summary().
# Way out: conf.type = "log-log"; or shape the bounds: matrix(fit$lower, nrow(fit$pstate)).
set -euo pipefail
command -v Rscript > /dev/null && Rscript -e 'library(survival)' > /dev/null 2>&1 || {
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends r-base-core r-cran-survival > /dev/null
}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
cat > run.R <<'R'
library(survival)
cat("R", as.character(getRversion()), "survival", as.character(packageVersion("survival")), "\n")
patients <- data.frame(month = c(1, 2, 2, 2, 2, 3, 4, 4, 5, 6),
                       cause = factor(c(1, 1, 1, 2, 0, 0, 2, 1, 2, 0), 0:2, c("censored", "relapse", "death")))
for (type in c("log-log", "arcsin")) {
  fit <- survfit(Surv(month, cause) ~ 1, data = patients, conf.type = type)
  at <- summary(fit, times = 2)
  cat(sprintf("%-8s month 2: (s0) %.2f, relapse %.2f, death %.2f; lower: %s; upper: %s\n", type, at$pstate[1],
              at$pstate[2], at$pstate[3], paste(round(at$lower, 2), collapse = " "), paste(round(at$upper, 2), collapse = " ")))
}
fit <- survfit(Surv(month, cause) ~ 1, data = patients, conf.type = "arcsin")
table <- summary(fit, times = c(2, 4))
print(data.frame(month = table$time, relapse = table$pstate[, 2], death = table$pstate[, 3], lower = table$lower, upper = table$upper))
shaped <- matrix(fit$lower, nrow(fit$pstate))
stopifnot(is.null(dim(fit$lower)), length(table$lower) == 2)
stopifnot(isTRUE(all.equal(table$lower, shaped[match(c(2, 4), fit$time), 1])))  # of (s0)
stopifnot(table$lower[1] > table$pstate[1, 3])                                   # the interval leaves out its estimate
stopifnot(inherits(try(fit[, "relapse"], silent = TRUE), "try-error"))
cat("seen as described\n")
R
Rscript run.R
