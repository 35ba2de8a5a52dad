#include "sherd/launch/devices.hpp"

#include <filesystem>

#include "sherd/base/errors.hpp"
#include "sherd/comm/interface.hpp"
#include "sherd/device/library.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::launch {
namespace {

namespace fs = std::filesystem;
constexpr const char* file_name = "libsherd_cuda.so";

Devices none(std::string why, bool has_driver) {
  Devices devices;
  devices.why_none = std::move(why);
  devices.has_driver = has_driver;
  return devices;
}

}  // namespace

std::string library_of(const fs::path& program_folder) {
  const fs::path up = program_folder / "..";
  std::error_code error;
  for (const fs::path& folder :
       {program_folder, up, up / "lib/sherd", up / "lib64/sherd", up / "lib/x86_64-linux-gnu/sherd",
        fs::path(SHERD_LIBRARY_FOLDER)}) {
    const fs::path place = folder / file_name;
    if (fs::exists(place, error)) return place.lexically_normal().string();
  }
  return {};
}

Devices find_devices(std::string_view device, std::string_view library) {
  const std::optional<DeviceChoice> choice = parse_device(device);
  if (!choice || choice->kind == DeviceKind::cpu) return none("--device is cpu", false);
  Devices found;
  found.library = library;
  if (library.empty()) {
    const std::string no_driver = device::why_no_cuda_driver();
    if (!no_driver.empty())
      return none("this machine has no CUDA driver (" + no_driver + ")", false);
    std::error_code error;
    found.library = library_of(fs::read_symlink("/proc/self/exe", error).parent_path());
    if (found.library.empty()) {
      return none(std::string("this sherd was built without CUDA: there is no ") + file_name, true);
    }
  }
  try {
    const device::Library opened = device::open_library(found.library);
    found.count = opened.device->count();
    if (found.count == 0) return none("the driver shows no device", true);
    found.why_no_nccl = static_cast<const comm::Interface*>(opened.comm)->why_no_nccl();
    found.has_driver = true;
    const int named = choice->index.value_or(0);
    found.name = opened.device->name(named < found.count ? named : 0);
    const auto& kernels = *static_cast<const kernels::Interface*>(opened.kernels);
    found.path_f32 = kernels.path(DType::f32);
    found.path_16 = kernels.path(DType::bf16);
    found.why_none.clear();
  } catch (const DeviceError& error) {
    return none(error.what(), true);
  }
  return found;
}

std::string device_problem(std::string_view device, const Devices& devices) {
  const std::optional<DeviceChoice> choice = parse_device(device);
  if (!choice)
    return "--device: got '" + std::string(device) + "', need " + std::string(device_forms);
  if (choice->kind != DeviceKind::cuda) return {};
  if (devices.count == 0) return "--device: cuda cannot be used: " + devices.why_none;
  if (!choice->index || *choice->index < devices.count) return {};
  return "--device: got index " + std::to_string(*choice->index) + ", need one below " +
         std::to_string(devices.count) + ", the number of devices";
}

}  // namespace sherd::launch
