"""The synthetic yard as a fixed camera sees it: auto exposure, infrared at night, sensor noise, H.264 at a low rate.

Everything follows from the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from support.yard import light
from support.yard.day import LOOK_S, Moment, plan
from support.yard.drawing import HEIGHT, WIDTH, Floats, Picture, drawn, ground, smooth
from support.yard.h264 import last_picture, packets
from support.yard.weather import Weather, add_rain, add_snow, new_drops, shaken, sway

MARGIN = 200  # of the sensor's noise, from which each picture takes another part


@dataclass(slots=True)
class Yard:
    """Renders the looks of one day, in their order: exposure and the infrared switch depend on the looks before."""

    seed: int
    weather: Weather
    rng: np.random.Generator = field(init=False)
    ground: Picture = field(init=False)
    noise: Floats = field(init=False)
    clouds: Floats = field(init=False)
    gain: float = field(init=False, default=1.0)
    colour: bool = field(init=False, default=True)
    drops: list[tuple[int, int, int]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.ground = ground(self.rng)
        self.noise = self.rng.normal(0, 1, (HEIGHT + MARGIN, WIDTH + MARGIN)).astype(np.float32)
        self.noise += cv2.GaussianBlur(self.noise, (0, 0), 1.0)
        self.clouds = smooth(self.rng, 400, 4000, 18)

    def looks(self) -> Iterator[tuple[Moment, Picture]]:
        """Each look of the day, with what is true and the picture."""
        for number, moment in enumerate(plan(np.random.default_rng(self.seed + 1000))):
            yield moment, self.look(moment, number)

    def look(self, moment: Moment, number: int) -> Picture:
        """The decoded picture, RGB: a keyframe, or one of the two pictures that follow it."""
        hour = number * LOOK_S / 3600
        scene = self.weathered(self.still(moment, hour), hour)
        stream = packets((self.with_noise(scene) for _ in range(self.rng.integers(1, 4))), {"crf": "31"})
        return last_picture(stream)

    def still(self, moment: Moment, hour: float) -> Floats:
        """The scene without what moves from one picture of a stream to the next."""
        sun = light.Sun.at(hour)
        brightness = self._brightness(moment, hour, sun)
        picture = drawn(self.ground, moment, self.rng)
        if self.rng.random() < self.weather.windy:
            sway(picture, self.ground, 5 * self.weather.wind, self.rng)
        self._switch_infrared(float(brightness.mean()))
        if not self.colour:
            picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
            brightness = light.infrared() + 0.3 * brightness
        lit = np.asarray(picture * cv2.resize(brightness, (WIDTH, HEIGHT))[:, :, None], np.float32)
        if self.colour:
            lit[:, :, 2] *= 1 + 0.1 * (1 - min(1.0, 3 * sun.height))  # dusk and dawn are bluer
        self._expose(float(lit[::8, ::8].mean()))
        lit *= self.gain
        return lit

    def weathered(self, lit: Floats, hour: float) -> Floats:
        """With rain, snow and the wind that moves the camera. Changes `lit`."""
        if self.weather.rain[0] <= hour < self.weather.rain[1]:
            if self.rng.random() < 0.01:
                self.drops = new_drops(self.rng)
            add_rain(lit, self.drops, self.rng)
        if self.weather.snow[0] <= hour < self.weather.snow[1]:
            add_snow(lit, 40 if self.colour else 70, self.rng)
        return shaken(lit, self.weather.wind, self.rng) if self.rng.random() < self.weather.windy else lit

    def with_noise(self, lit: Floats) -> Picture:
        """As the sensor gives it: noise grows with the gain. Lamps on mains flicker in rows."""
        top, left = self.rng.integers(0, MARGIN, 2)
        sigma = 1.2 * math.sqrt(max(0.3, self.gain))
        noisy = lit + (sigma * self.noise[top : top + HEIGHT, left : left + WIDTH])[:, :, None]
        if self.colour:  # the white balance amplifies red and blue
            noisy[:, :, 0] += 1.2 * sigma * self.noise[left : left + HEIGHT, top : top + WIDTH]
            noisy[:, :, 2] += 1.6 * sigma * self.noise[-HEIGHT - top :, -WIDTH - left :][:HEIGHT, :WIDTH]
        if self.gain > 3:
            phase = self.rng.uniform(0, 2 * math.pi)
            rows = 1 + 0.02 * np.sin(np.linspace(0, 4 * math.pi, HEIGHT, dtype=np.float32) + phase)
            noisy *= rows[:, None, None]
        return np.clip(noisy, 0, 255).astype(np.uint8)

    def _brightness(self, moment: Moment, hour: float, sun: light.Sun) -> Floats:
        """Of each place, at half the size, in the camera's gamma."""
        height = max(0.0, sun.height)
        clear = self.weather.clear(self.clouds, hour)
        linear = 0.3 * height**0.7 * (0.8 + 0.2 * float(clear.mean())) + 0.05 * sun.twilight
        linear = linear + 0.7 * height * clear * (1 - light.shadows(moment, sun)) + 0.0008
        if not 7 < hour < 18:
            linear += 0.02 * light.lamp()
        if not 6 < hour < 19 and self.rng.random() < 0.01:
            linear += 0.05 * light.headlights(self.rng)
        return np.asarray(np.power(linear, 1 / 2.2), np.float32)

    def _switch_infrared(self, brightness: float) -> None:
        """Has a hysteresis, as cameras have."""
        if self.colour and brightness < 0.19:
            self.colour = False
        elif not self.colour and brightness > 0.27:
            self.colour = True

    def _expose(self, brightness: float) -> None:
        """Follows the brightness in steps, and hunts now and then."""
        wanted = 105 / max(1.0, brightness)
        if abs(wanted / self.gain - 1) > 0.07:
            self.gain = wanted * float(self.rng.uniform(0.97, 1.03))
        elif self.rng.random() < 0.02:
            self.gain *= float(self.rng.uniform(0.94, 1.06))
        self.gain = min(self.gain, 8.0)
