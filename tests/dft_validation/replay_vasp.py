"""A program in the place of VASP: checks the inputs in the working folder and copies real outputs there.

REPLAY_VASP_RUNS names a folder that gets the POSCAR of each run; a file "fail" in it makes the next run of a uniform mesh fail, once.
Whatever it is given, a relaxation ends at the crystal of the static run.
REPLAY_VASP_SECONDS lets each run take a while.
"""

import gzip
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

OUTPUTS = Path(__file__).parent / "vasp_outputs"
INPUTS = ("INCAR", "KPOINTS", "POSCAR", "POTCAR")


def install(folder: Path) -> dict[str, str]:
    """Write an executable and a POTCAR of silicon that holds a header alone; return the environment that names both."""
    program, runs, potcars = folder / "vasp_std", folder / "runs", folder / "potcars" / "POT_GGA_PAW_PBE"
    for path in (runs, potcars):
        path.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{Path(__file__).resolve()}"\n')
    program.chmod(0o755)
    with gzip.open(potcars / "POTCAR.Si.gz", "wt") as file:
        file.write(POTCAR)
    return {
        "ATOMATE2_VASP_CMD": str(program),
        "ATOMATE2_VASP_GAMMA_CMD": str(program),
        "PMG_VASP_PSP_DIR": str(potcars.parent),
        "REPLAY_VASP_RUNS": str(runs),
    }


POTCAR = """  PAW_PBE Si 05Jan2001
   4.00000000000000
 parameters from PSCTR are:
   VRHFIN =Si: s2p2
   LEXCH  = PE
   EATOM  =   103.0669 eV,    7.5752 Ry
   TITEL  = PAW_PBE Si 05Jan2001
   POMASS =   28.085; ZVAL   =    4.000    mass and valenz
   ENMAX  =  245.345; ENMIN  =  184.009 eV
 END of PSCTR-controll parameters
 A header without a potential, for tests
  0.10000000E+01  0.20000000E+01  0.30000000E+01
 End of Dataset
"""


def end_relaxation(vasprun: Path, contcar: Path) -> None:
    """Let a static run look like a relaxation that ended at its crystal."""
    text = vasprun.read_text(encoding="latin-1")
    vasprun.write_text(re.sub(r'(name="NSW">) +0<', r"\1 99<", text), encoding="latin-1")
    vectors = re.findall(r"<v>(.*?)</v>", text.rpartition('<varray name="basis" >')[2])[:3]
    lines = contcar.read_text().splitlines()
    contcar.write_text("\n".join([*lines[:2], *vectors, *lines[5:]]) + "\n")


def main() -> None:
    """Do what VASP does for the files around it."""
    lacking = [name for name in INPUTS if not Path(name).is_file()]
    if lacking:
        sys.exit(f"VASP would need {', '.join(lacking)}.")
    incar = Path("INCAR").read_text()
    is_uniform = "ICHARG" in incar
    if is_uniform and not Path("CHGCAR").is_file():
        sys.exit("VASP would need the CHGCAR of the static run.")
    relaxes = re.search(r"NSW\s*=\s*[1-9]", incar) is not None
    kind = "si_uniform" if is_uniform else "si_static"
    runs = Path(os.environ["REPLAY_VASP_RUNS"])
    name = "si_relax" if relaxes else kind
    shutil.copy("POSCAR", runs / f"{name}-{os.getpid()}-{time.monotonic_ns()}")
    time.sleep(float(os.environ.get("REPLAY_VASP_SECONDS", "0")))
    if is_uniform and (runs / "fail").exists():
        (runs / "fail").unlink()
        sys.exit(1)
    if (runs / "killed").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    for source, name in (("si_static", "OUTCAR"), (kind, "vasprun.xml")):
        with gzip.open(OUTPUTS / source / f"{name}.gz") as packed, Path(name).open("wb") as file:
            shutil.copyfileobj(packed, file)
    shutil.copy("POSCAR", "CONTCAR")
    if relaxes:
        end_relaxation(Path("vasprun.xml"), Path("CONTCAR"))
    for name in ("OSZICAR", "CHGCAR", "WAVECAR"):
        Path(name).touch()


if __name__ == "__main__":
    main()
