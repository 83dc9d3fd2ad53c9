"""One patient under one product.

leukaemia: the leukaemia at entry
course: treatment and follow-up, day by day
endpoints: the clinical endpoints of a course
marrow_model: the course as a Mesa model that can be stepped and watched
"""
