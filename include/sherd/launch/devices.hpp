#pragma once
// Which devices this machine has, asked only when `--device` allows one.
#include <filesystem>
#include <string>

#include "sherd/launch/run_config.hpp"

namespace sherd::launch {

/// The device library of a program in `program_folder`; empty: there is none.
///
/// Beside it or one folder up where both were built, under lib where both were installed, else
/// where this sherd installs its own: a program of a user's may lie anywhere.
[[nodiscard]] std::string library_of(const std::filesystem::path& program_folder);

/// Looks for CUDA devices unless `device` says cpu. Nothing is loaded where there is no driver, so
/// such a run pays nothing.
///
/// `library`: the device library to use instead of the one beside this program; its driver is then
/// its own business.
[[nodiscard]] Devices find_devices(std::string_view device, std::string_view library = {});

inline constexpr std::string_view device_forms =
    "auto, cpu, cuda or cuda:INDEX with an index from 0 to 63";
/// Why `--device` cannot be `device` where there are `devices`; empty if it can.
[[nodiscard]] std::string device_problem(std::string_view device, const Devices& devices);

}  // namespace sherd::launch
