#include "sherd/device/library.hpp"

#include <dlfcn.h>

#include "sherd/base/errors.hpp"

namespace sherd::device {
namespace {

std::string loader_says() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : text;
}

const void* table(const Library& library, const char* name, const std::string& path) {
  using Function = const void* (*)();
  const auto function = reinterpret_cast<Function>(dlsym(library.handle.get(), name));
  if (function == nullptr) throw DeviceError(path + " is no device library: it lacks " + name);
  return function();
}

}  // namespace

Library open_library(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) throw DeviceError("cannot load the device library: " + loader_says());
  Library library{.handle = {handle, [](void* at) { dlclose(at); }}};
  const int version = *static_cast<const int*>(table(library, library_symbols[0], path));
  if (version != interface_version) {
    throw DeviceError(path + " has interface " + std::to_string(version) + ", need " +
                      std::to_string(interface_version) + ": install the one of this program");
  }
  library.device = static_cast<const Interface*>(table(library, library_symbols[1], path));
  library.kernels = table(library, library_symbols[2], path);
  library.optim = table(library, library_symbols[3], path);
  library.comm = table(library, library_symbols[4], path);
  return library;
}

std::string why_no_cuda_driver() {
  void* handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return loader_says();
  dlclose(handle);
  return {};
}

OpenDevice open_device(const std::string& library_path, int index) {
  OpenDevice device{.library = open_library(library_path), .driver = nullptr};
  const int count = device.library.device->count();
  if (index < 0 || index >= count) {
    throw ConfigError({"--device: got index " + std::to_string(index) + ", but there are only " +
                       std::to_string(count) + " devices, counted from 0"});
  }
  device.driver = device.library.device->open(index);
  return device;
}

}  // namespace sherd::device
