"""Renders one small picture and prints what did it, as JSON. Runs in its own process: drivers may crash."""

from __future__ import annotations

import ctypes
import json
import struct

DEVICE_TYPES = {0: "other", 1: "integrated GPU", 2: "discrete GPU", 3: "virtual GPU", 4: "software (CPU)"}
_APPLICATION_INFO, _INSTANCE_INFO = 0, 1
_PROPERTIES_2, _DRIVER_PROPERTIES = 1000059001, 1000196000
_VULKAN_1_2 = (1 << 22) | (2 << 12)
_LARGEST = 4096
_MAX_DEVICES = 8


def devices() -> dict[str, dict[str, str]]:
    """Vulkan devices by name: their type, and name and version of the driver.

    Raises:
        OSError: The Vulkan loader is not installed.
    """
    vulkan = ctypes.CDLL("libvulkan.so.1")
    # VkApplicationInfo and VkInstanceCreateInfo, without layers or extensions.
    application = ctypes.create_string_buffer(
        struct.pack("@iPPIPII", _APPLICATION_INFO, 0, 0, 0, 0, 0, _VULKAN_1_2)
    )
    pointer = ctypes.addressof(application)
    info = ctypes.create_string_buffer(struct.pack("@iPIPIPIP", _INSTANCE_INFO, 0, 0, pointer, 0, 0, 0, 0))
    instance = ctypes.c_void_p()
    if vulkan.vkCreateInstance(info, None, ctypes.byref(instance)) != 0:
        return {}
    count = ctypes.c_uint32(_MAX_DEVICES)
    handles = (ctypes.c_void_p * _MAX_DEVICES)()
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles)
    found = dict(_describe(vulkan, handle) for handle in handles[: count.value] if handle)
    vulkan.vkDestroyInstance(instance, None)
    return found


def _describe(vulkan: ctypes.CDLL, handle: int) -> tuple[str, dict[str, str]]:
    """Name of a device, and what VkPhysicalDeviceProperties2 and VkPhysicalDeviceDriverProperties say."""
    driver = ctypes.create_string_buffer(struct.pack("@iP", _DRIVER_PROPERTIES, 0), _LARGEST)
    head = struct.pack("@iP", _PROPERTIES_2, ctypes.addressof(driver))
    properties = ctypes.create_string_buffer(head, _LARGEST)
    vulkan.vkGetPhysicalDeviceProperties2(ctypes.c_void_p(handle), properties)
    *_, kind, name = struct.unpack_from("@5I256s", properties.raw, len(head))
    _, driver_name, driver_info = struct.unpack_from("@I256s256s", driver.raw, len(head))
    texts = [text.split(b"\0")[0].decode() for text in (name, driver_name, driver_info)]
    return texts[0], {"type": DEVICE_TYPES.get(kind, "unknown"), "driver": " ".join(texts[1:])}


def render() -> tuple[str, int]:
    """Renders a box; returns the name of the device and the number of pixels that show it."""
    import numpy as np
    import sapien

    sapien.render.set_camera_shader_dir("minimal")
    renderer = sapien.render.RenderSystem()
    scene = sapien.Scene([sapien.physx.PhysxCpuSystem(), renderer])
    scene.set_ambient_light([1.0, 1.0, 1.0])
    builder = scene.create_actor_builder()
    red = sapien.render.RenderMaterial(base_color=[1, 0, 0, 1])
    builder.add_box_visual(half_size=[0.2, 0.2, 0.2], material=red)
    builder.build_static().set_pose(sapien.Pose([1.0, 0.0, 0.0]))
    camera = scene.add_camera("probe", 64, 48, 1.0, 0.01, 10.0)
    scene.update_render()
    camera.take_picture()
    picture = np.asarray(camera.get_picture("Color"))
    return str(renderer.device.name), int((picture[..., 0] > 0.1).sum())


def main() -> None:
    """Prints the facts as one line of JSON."""
    name, pixels = render()
    print(json.dumps({"name": name, "pixels": pixels, **devices().get(name, {})}))


if __name__ == "__main__":
    main()
