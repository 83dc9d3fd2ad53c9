# What R says of the patients in patients.csv, into r.csv beside it; tests/trials/test_beside_r.py compares, without R.
#   apt-get install r-base-core r-cran-survival r-cran-cmprsk
#   Rscript tests/trials/beside_r/beside_r.R
# Cause 0 is survival without any event. The bounds are those of survfit, by conf.type.
library(survival)
library(cmprsk)
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
types <- c("log-log", "log", "plain", "logit", "arcsin")
bounds <- paste0(c("lower ", "upper "), rep(types, each = 2))

survfit_rows <- function(its, cause) {
  formula <- if (cause == 0) Surv(days, cause > 0) ~ 1 else Surv(days, state) ~ 1
  fit <- function(type) survfit(formula, data = its, conf.type = type)
  shape <- summary(fit("log-log"), censored = TRUE)
  column <- function(values) {
    if (cause == 0) return(values)
    matrix(values, length(shape$time))[, match(as.character(cause), shape$states)]  # arcsin comes without its shape
  }
  out <- data.frame(cause, day = shape$time, estimate = column(if (cause == 0) shape$surv else shape$pstate),
                    error = column(shape$std.err))
  for (type in types) {
    found <- fit(type)
    out[paste("lower", type)] <- column(found$lower)
    out[paste("upper", type)] <- column(found$upper)
  }
  out
}
cuminc_rows <- function(its, cause) {
  found <- timepoints(cuminc(its$days, its$cause), sort(unique(its$days)))
  data.frame(cmprsk = found$est[paste(1, cause), ], cmprsk_error = sqrt(found$var[paste(1, cause), ]))
}
rows <- function(its) {
  its$state <- factor(its$cause, 0:2, c("censored", "1", "2"))
  causes <- if (any(its$cause == 2)) sort(setdiff(unique(its$cause), 0)) else integer()
  survival <- cbind(survfit_rows(its, 0), cmprsk = NA, cmprsk_error = NA)
  incidence <- lapply(causes, function(cause) cbind(survfit_rows(its, cause), cuminc_rows(its, cause)))
  cbind(set = its$set[1], arm = its$arm[1], rbind(survival, do.call(rbind, incidence)))
}
patients <- read.csv(file.path(here, "patients.csv"))
table <- do.call(rbind, lapply(split(patients, ~ set + arm, drop = TRUE), rows))
numbers <- c("estimate", "error", bounds, "cmprsk", "cmprsk_error")
table[numbers] <- lapply(table[numbers], signif, 11)
write.csv(table, file.path(here, "r.csv"), row.names = FALSE, quote = FALSE, na = "", eol = "\n")
versions <- c(R = as.character(getRversion()), survival = as.character(packageVersion("survival")),
              cmprsk = as.character(packageVersion("cmprsk")))
cat(paste(names(versions), versions), nrow(table), "rows", sep = ", ")
cat("\n")
