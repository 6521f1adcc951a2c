"""Read by GPAW's own build (GPAW_CONFIG=.../gpaw_siteconfig.py): it then needs a C++ compiler and nothing else.

One process per job, so no MPI; PBE is built in, so no libxc; BLAS and FFT come from the wheels of numpy and scipy.
"""

mpi = False
nolibxc = True
