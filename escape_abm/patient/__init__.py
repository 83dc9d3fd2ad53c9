"""One patient under one product.

leukaemia: what the patient enters with
course: treatment and follow-up, day by day
endpoints: the clinical reading of a course
marrow_model: the course as a Mesa model that is stepped and watched
"""
