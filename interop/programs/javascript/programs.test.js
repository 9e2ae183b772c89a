'use strict'

require('./hello_world')
require('./work_queue')
require('./exchanges')
require('./rpc')
require('./confirms')
