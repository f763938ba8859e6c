"""The images of an episode where they lie: a bag may be larger than memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from finevla.bag.reader import EncodedImage, EpisodeReader
from finevla.contract.robot import RobotContract
from finevla.errors import BagError


@dataclass(frozen=True, slots=True)
class Pictures:
    """Some images of one camera, read from the bag whenever they are iterated.

    Attributes:
        bag: Directory of the bag.
        contract: Of the reader.
        camera: Name of the camera.
        places: Which images of the camera, counted in the order of `EpisodeReader.images`.
    """

    bag: Path
    contract: RobotContract
    camera: str
    places: tuple[int, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.places)

    def __iter__(self) -> Iterator[EncodedImage]:
        """The images in the order of `places`; only those are held that are still to come.

        Raises:
            BagError: The bag is not what it was.
        """
        uses, held = Counter(self.places), dict[int, EncodedImage]()
        with EpisodeReader(self.bag, self.contract) as reader:
            coming = enumerate(reader.images(self.camera))
            for place in self.places:
                while place not in held:
                    number, image = next(coming, (-1, None))
                    if image is None:
                        raise BagError(
                            "the bag changed while it was read",
                            where=f"{self.bag}: {self.camera}",
                            expected=f"image {place}",
                            found="the end of the bag",
                            remedy="convert it again when nothing writes to it",
                        )
                    if uses[number]:
                        held[number] = image
                yield held[place]
                uses[place] -= 1
                if not uses[place]:
                    del held[place]
