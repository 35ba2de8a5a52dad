#pragma once
#include "support/host_cuda/device.hpp"
